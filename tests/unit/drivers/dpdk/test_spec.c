/* Port specs. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "drivers/dpdk/spec.h"

Test(dpdk_spec, pci_address_with_and_without_domain)
{
    struct dpdk_spec spec;
    char error[DPDK_ERROR_MAX];

    cr_assert_eq(dpdk_spec_parse("0000:03:00.0", &spec, error), 0);
    cr_assert(spec.pci);
    cr_assert_str_eq(spec.name, "0000:03:00.0");
    cr_assert_eq(dpdk_spec_parse("3B:00.1,mprq_en=1", &spec, error), 0);
    cr_assert(spec.pci);
    cr_assert_str_eq(spec.name, "0000:3b:00.1");
    cr_assert_str_eq(spec.args, "mprq_en=1");
}

Test(dpdk_spec, virtual_device_has_a_driver_and_arguments)
{
    struct dpdk_spec spec;
    char error[DPDK_ERROR_MAX], value[64], text[DPDK_SPEC_MAX];

    cr_assert_eq(dpdk_spec_parse("net_memif0,role=server,socket=/run/a.sock", &spec, error), 0);
    cr_assert(!spec.pci);
    cr_assert_str_eq(spec.name, "net_memif0");
    cr_assert_str_eq(spec.driver, "net_memif");
    cr_assert(dpdk_spec_value(&spec, "socket", value, sizeof(value)));
    cr_assert_str_eq(value, "/run/a.sock");
    cr_assert(dpdk_spec_value(&spec, "role", value, sizeof(value)));
    cr_assert_str_eq(value, "server");
    cr_assert(!dpdk_spec_value(&spec, "rol", value, sizeof(value)));
    cr_assert(!dpdk_spec_value(&spec, "socket", value, 11), "eleven bytes and no NUL");
    cr_assert_eq(dpdk_spec_text(&spec, text, sizeof(text)), 0);
    cr_assert_str_eq(text, "net_memif0,role=server,socket=/run/a.sock");
    cr_assert_eq(dpdk_spec_text(&spec, text, 20), -ENOSPC);
}

Test(dpdk_spec, driver_without_a_number_and_value_with_brackets)
{
    struct dpdk_spec spec;
    char error[DPDK_ERROR_MAX], value[64];

    cr_assert_eq(dpdk_spec_parse("net_ring", &spec, error), 0);
    cr_assert_str_eq(spec.driver, "net_ring");
    cr_assert_str_eq(spec.args, "");
    cr_assert_eq(dpdk_spec_parse("net_af_xdp12,iface=e0,cores=[1,2],force_copy=1", &spec, error),
                 0);
    cr_assert_str_eq(spec.driver, "net_af_xdp");
    cr_assert(dpdk_spec_value(&spec, "cores", value, sizeof(value)));
    cr_assert_str_eq(value, "[1,2]");
    cr_assert(dpdk_spec_value(&spec, "force_copy", value, sizeof(value)));
    cr_assert_str_eq(value, "1");
}

Test(dpdk_spec, default_is_added_only_when_missing)
{
    struct dpdk_spec spec;
    char error[DPDK_ERROR_MAX];

    cr_assert_eq(dpdk_spec_parse("net_af_packet0", &spec, error), 0);
    cr_assert_eq(dpdk_spec_default(&spec, "qpairs", 4), 0);
    cr_assert_str_eq(spec.args, "qpairs=4");
    cr_assert_eq(dpdk_spec_default(&spec, "qpairs", 8), 0);
    cr_assert_str_eq(spec.args, "qpairs=4");
    cr_assert_eq(dpdk_spec_default(&spec, "blocksz", 8), 0);
    cr_assert_str_eq(spec.args, "qpairs=4,blocksz=8");
}

Test(dpdk_spec, what_is_no_spec_is_refused_in_one_line)
{
    static const char *const wrong[] = {"",
                                        "eth0",
                                        "0000:03:00",
                                        "0000:03:00.8",
                                        "000:03:00.0",
                                        "0000:03:00.0x",
                                        "net_",
                                        "net_0",
                                        "net_Memif0",
                                        "net_memif0 ",
                                        "../net_memif0",
                                        "net_memif0,",
                                        "net_memif0,,role=server",
                                        "net_memif0,=server",
                                        "net_memif0,role=ser ver",
                                        "net_memif0,role=\x01",
                                        "net_memif0,list=[1,2",
                                        "net_memif0,list=1]"};
    struct dpdk_spec spec;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char error[DPDK_ERROR_MAX] = "";

        cr_expect_eq(dpdk_spec_parse(wrong[i], &spec, error), -EINVAL, "'%s'", wrong[i]);
        cr_expect(error[0] != '\0' && strchr(error, '\n') == NULL, "'%s': %s", wrong[i], error);
    }
}

Test(dpdk_spec, length_is_bounded)
{
    char text[2 * DPDK_SPEC_MAX], error[DPDK_ERROR_MAX];
    struct dpdk_spec spec;

    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    memcpy(text, "net_", 4);
    cr_expect_eq(dpdk_spec_parse(text, &spec, error), -EINVAL, "a long name");
    memcpy(text, "net_ring0,", 10);
    cr_expect_eq(dpdk_spec_parse(text, &spec, error), -EINVAL, "long arguments");
    text[10 + DPDK_SPEC_MAX - 1] = '\0';
    cr_expect_eq(dpdk_spec_parse(text, &spec, error), 0, "%s", error);
    cr_expect_eq(dpdk_spec_default(&spec, "b", 1), -ENOSPC);
    cr_expect_eq(strlen(spec.args), DPDK_SPEC_MAX - 1);
}
