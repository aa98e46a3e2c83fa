/* What a machine offers, told from a made-up /sys, /proc and /dev. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "drivers/dpdk/machine.h"

static char root[64];

/* mkdir -p of everything before the last slash of root/path. */
static void make_parents(char *path)
{
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0755);
        *at = '/';
    }
}

static void make_file(const char *name, const char *text)
{
    char path[PATH_MAX];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    make_parents(path);
    file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    fputs(text, file);
    fclose(file);
}

static void make_link(const char *name, const char *target)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", root, name);
    make_parents(path);
    unlink(path);
    cr_assert_eq(symlink(target, path), 0);
}

static void begin(void)
{
    strcpy(root, "/tmp/pollux-machine-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void end(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf -- %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(dpdk_machine, .init = begin, .fini = end);

static int check(const char *text, char *error)
{
    struct dpdk_spec spec;

    cr_assert_eq(dpdk_spec_parse(text, &spec, error), 0, "%s", error);
    error[0] = '\0';
    return machine_check(root, &spec, error);
}

#define CARD "sys/bus/pci/devices/0000:03:00.0/"

Test(dpdk_machine, free_hugepages_of_all_sizes_count)
{
    cr_expect_eq(machine_free_hugepages(root), 0);
    make_file("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n");
    make_file("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "2\n");
    cr_expect_eq(machine_free_hugepages(root), 5 * (2ull << 20) + 2 * (1ull << 30));
}

Test(dpdk_machine, card_that_does_not_exist_or_is_no_network_card)
{
    char error[DPDK_ERROR_MAX];

    cr_expect_eq(check("03:00.0", error), -ENODEV);
    cr_expect(strstr(error, "no such PCI device") != NULL, "%s", error);
    make_file(CARD "class", "0x010802\n");
    cr_expect_eq(check("03:00.0", error), -ENODEV);
    cr_expect(strstr(error, "no network card") != NULL, "%s", error);
}

Test(dpdk_machine, card_of_the_kernel_or_of_nobody_is_to_be_bound)
{
    char error[DPDK_ERROR_MAX];

    make_file(CARD "class", "0x020000\n");
    cr_expect_eq(check("03:00.0", error), -ENODEV);
    cr_expect(strstr(error, "tools/pollux-nic bind 0000:03:00.0") != NULL, "%s", error);
    make_link(CARD "driver", "../../../bus/pci/drivers/ixgbe");
    cr_expect_eq(check("03:00.0", error), -EBUSY);
    cr_expect(strstr(error, "ixgbe; tools/pollux-nic bind 0000:03:00.0") != NULL, "%s", error);
}

Test(dpdk_machine, mellanox_keeps_its_kernel_driver)
{
    char error[DPDK_ERROR_MAX];
    struct dpdk_spec spec;

    make_file(CARD "class", "0x020000\n");
    make_link(CARD "driver", "../../../bus/pci/drivers/mlx5_core");
    cr_expect_eq(check("03:00.0", error), 0, "%s", error);
    dpdk_spec_parse("03:00.0", &spec, error);
    cr_expect(machine_is_bifurcated(root, &spec));
}

Test(dpdk_machine, vfio_needs_its_module_its_group_and_permission)
{
    char error[DPDK_ERROR_MAX];

    make_file(CARD "class", "0x020000\n");
    make_link(CARD "driver", "../../../bus/pci/drivers/vfio-pci");
    cr_expect_eq(check("03:00.0", error), -ENOENT);
    cr_expect(strstr(error, "modprobe vfio-pci") != NULL, "%s", error);
    make_file("dev/vfio/vfio", "");
    cr_expect_eq(check("03:00.0", error), -ENODEV);
    cr_expect(strstr(error, "intel_iommu=on") != NULL, "%s", error);
    make_link(CARD "iommu_group", "../../../kernel/iommu_groups/14");
    cr_expect_eq(check("03:00.0", error), -ENOENT);
    make_file("dev/vfio/14", "");
    cr_expect_eq(check("03:00.0", error), 0, "%s", error);
}

Test(dpdk_machine, virtual_devices_name_what_they_lack)
{
    char error[DPDK_ERROR_MAX];

    cr_expect_eq(check("net_af_xdp0", error), -EINVAL);
    cr_expect(strstr(error, "iface=NAME") != NULL, "%s", error);
    cr_expect_eq(check("net_af_packet0,iface=surely-not0", error), -ENODEV);
    cr_expect(strstr(error, "no interface surely-not0") != NULL, "%s", error);
    cr_expect_eq(check("net_af_packet0,iface=lo", error), 0, "%s", error);
    cr_expect_eq(check("net_tap0", error), -ENOENT);
    cr_expect(strstr(error, "modprobe tun") != NULL, "%s", error);
    make_file("dev/net/tun", "");
    cr_expect_eq(check("net_tap0", error), 0, "%s", error);
    cr_expect_eq(check("net_memif0,role=server", error), -EINVAL);
    cr_expect_eq(check("net_memif0,role=leader,socket=/x", error), -EINVAL);
    cr_expect_eq(check("net_null0", error), 0);
}

Test(dpdk_machine, queues_that_a_port_can_ask_for)
{
    struct dpdk_spec spec;
    char error[DPDK_ERROR_MAX];

    cr_assert_eq(dpdk_spec_parse("net_af_packet0,iface=lo", &spec, error), 0);
    cr_expect_eq(machine_queues(&spec, 4), 4, "sockets, as many as wanted");
    cr_assert_eq(dpdk_spec_parse("net_af_xdp0,iface=lo", &spec, error), 0);
    cr_expect_eq(machine_queues(&spec, 4), 1, "lo counts no channels");
    cr_assert_eq(dpdk_spec_parse("net_af_xdp0,iface=lo,start_queue=7", &spec, error), 0);
    cr_expect_eq(machine_queues(&spec, 4), 1, "never none: the driver says why");
    cr_assert_eq(dpdk_spec_parse("0000:03:00.0", &spec, error), 0);
    cr_expect_eq(machine_queues(&spec, 4), 4, "the card tells once it is open");
    cr_expect_str_eq(dpdk_queues_remedy("net_af_xdp"), "ethtool -L INTERFACE combined N");
    cr_expect_str_eq(dpdk_queues_remedy("net_virtio"), "queues=N of the hypervisor's device");
    cr_expect_str_eq(dpdk_queues_remedy("net_nosuch"), "a device that has them");
}

/* A socket file that nobody listens on any more. */
static void make_stale_socket(const char *path, int *fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(address.sun_path, path);
    *fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    cr_assert_eq(bind(*fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

Test(dpdk_machine, memif_server_takes_the_place_of_a_dead_one_only)
{
    char error[DPDK_ERROR_MAX], path[100], spec[200];
    int fd;

    snprintf(path, sizeof(path), "%s/memif.sock", root);
    snprintf(spec, sizeof(spec), "net_memif0,role=client,socket-abstract=no,socket=%s", path);
    cr_expect_eq(check(spec, error), -ENOENT);
    cr_expect(strstr(error, "start it first") != NULL, "%s", error);
    snprintf(spec, sizeof(spec), "net_memif0,role=server,socket-abstract=no,socket=%s", path);
    cr_expect_eq(check(spec, error), 0);

    make_stale_socket(path, &fd);
    cr_assert_eq(listen(fd, 1), 0);
    cr_expect_eq(check(spec, error), -EBUSY);
    cr_expect_eq(access(path, F_OK), 0, "a living server keeps its socket");
    close(fd);
    cr_expect_eq(check(spec, error), 0, "%s", error);
    cr_expect_neq(access(path, F_OK), 0, "a dead server's socket is taken away");

    make_file("memif.sock", "not a socket");
    check(spec, error);
    cr_expect_eq(access(path, F_OK), 0, "a file of another kind stays");
}
