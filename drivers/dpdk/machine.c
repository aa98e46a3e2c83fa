#include "drivers/dpdk/machine.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MEMIF_GREETING_MS = 1000 }; /* a server that is there greets at once, unless it has no CPU */

__attribute__((format(printf, 3, 4))) static int missing(char *error, int code, const char *format,
                                                         ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error, DPDK_ERROR_MAX, format, args);
    va_end(args);
    return code;
}

/* The number in a file of /sys, decimal or 0x; `otherwise` if there is none. */
static uint64_t read_number(const char *path, uint64_t otherwise)
{
    char text[64];
    char *end;
    FILE *file = fopen(path, "re");
    uint64_t number;
    bool some;

    if (file == NULL)
        return otherwise;
    some = fgets(text, sizeof(text), file) != NULL;
    fclose(file);
    if (!some)
        return otherwise;
    number = strtoull(text, &end, 0);
    return end == text ? otherwise : number;
}

uint64_t machine_free_hugepages(const char *root)
{
    char path[PATH_MAX];
    struct dirent *entry;
    uint64_t bytes = 0, size_kb;
    DIR *sizes;

    snprintf(path, sizeof(path), "%s/sys/kernel/mm/hugepages", root);
    sizes = opendir(path);
    if (sizes == NULL)
        return 0;
    while ((entry = readdir(sizes)) != NULL) {
        if (strncmp(entry->d_name, "hugepages-", 10) != 0)
            continue;
        size_kb = strtoull(entry->d_name + 10, NULL, 10);
        snprintf(path, sizeof(path), "%s/sys/kernel/mm/hugepages/%s/free_hugepages", root,
                 entry->d_name);
        bytes += read_number(path, 0) * size_kb * 1024;
    }
    closedir(sizes);
    return bytes;
}

/* The last part of what symbolic link `name` of a PCI device points to; "" if there is none. */
static void pci_link(const char *root, const struct dpdk_spec *spec, const char *name, char *last,
                     size_t size)
{
    char path[PATH_MAX], target[PATH_MAX];
    const char *slash;
    ssize_t len;

    last[0] = '\0';
    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/%s", root, spec->name, name);
    len = readlink(path, target, sizeof(target) - 1);
    if (len <= 0)
        return;
    target[len] = '\0';
    slash = strrchr(target, '/');
    slash = slash != NULL ? slash + 1 : target;
    if (strlen(slash) < size)
        strcpy(last, slash);
}

bool machine_is_bifurcated(const char *root, const struct dpdk_spec *spec)
{
    char driver[DPDK_NAME_MAX];

    if (!spec->pci)
        return false;
    pci_link(root, spec, "driver", driver, sizeof(driver));
    return strcmp(driver, "mlx5_core") == 0 || strcmp(driver, "mlx4_core") == 0;
}

static int check_vfio(const char *root, const struct dpdk_spec *spec, char *error)
{
    char path[PATH_MAX], group[DPDK_NAME_MAX];

    snprintf(path, sizeof(path), "%s/dev/vfio/vfio", root);
    if (access(path, F_OK) != 0)
        return missing(error, -ENOENT, "port %s: /dev/vfio/vfio is missing; modprobe vfio-pci",
                       spec->name);
    pci_link(root, spec, "iommu_group", group, sizeof(group));
    if (group[0] == '\0')
        return missing(error, -ENODEV,
                       "port %s: it has no IOMMU group; boot with intel_iommu=on or amd_iommu=on, "
                       "or: echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode && "
                       "tools/pollux-nic bind %s",
                       spec->name, spec->name);
    snprintf(path, sizeof(path), "%s/dev/vfio/%s", root, group);
    if (access(path, F_OK) != 0) {
        snprintf(path, sizeof(path), "%s/dev/vfio/noiommu-%s", root, group);
        if (access(path, F_OK) != 0)
            return missing(error, -ENOENT,
                           "port %s: /dev/vfio/%s is missing; tools/pollux-nic bind %s", spec->name,
                           group, spec->name);
    }
    if (access(path, R_OK | W_OK) != 0)
        return missing(error, -EACCES, "port %s: no permission for %s; chown $(id -u) %s",
                       spec->name, path + strlen(root), path + strlen(root));
    return 0;
}

static int check_pci(const char *root, const struct dpdk_spec *spec, char *error)
{
    char path[PATH_MAX], driver[DPDK_NAME_MAX];

    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s", root, spec->name);
    if (access(path, F_OK) != 0)
        return missing(error, -ENODEV,
                       "port %s: this machine has no such PCI device; tools/pollux-nic doctor",
                       spec->name);
    snprintf(path, sizeof(path), "%s/sys/bus/pci/devices/%s/class", root, spec->name);
    if (read_number(path, 0) >> 16 != 0x02)
        return missing(error, -ENODEV,
                       "port %s: this PCI device is no network card; tools/pollux-nic doctor",
                       spec->name);
    if (machine_is_bifurcated(root, spec))
        return 0;
    pci_link(root, spec, "driver", driver, sizeof(driver));
    if (strcmp(driver, "vfio-pci") == 0)
        return check_vfio(root, spec, error);
    if (strcmp(driver, "uio_pci_generic") == 0 || strcmp(driver, "igb_uio") == 0)
        return 0;
    if (driver[0] != '\0')
        return missing(error, -EBUSY,
                       "port %s: it is bound to the kernel's driver %s; tools/pollux-nic bind %s",
                       spec->name, driver, spec->name);
    return missing(error, -ENODEV, "port %s: it is bound to no driver; tools/pollux-nic bind %s",
                   spec->name, spec->name);
}

/* The interfaces that the caller's network namespace has. */
static int check_interface(const struct dpdk_spec *spec, char *error)
{
    char name[IFNAMSIZ];

    if (!dpdk_spec_value(spec, "iface", name, sizeof(name)))
        return missing(error, -EINVAL, "port %s: it wants iface=NAME, an interface of ip link",
                       spec->name);
    if (if_nametoindex(name) == 0)
        return missing(error, -ENODEV,
                       "port %s: there is no interface %s in this network namespace; ip link",
                       spec->name, name);
    return 0;
}

static int check_tun(const char *root, const struct dpdk_spec *spec, char *error)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/dev/net/tun", root);
    if (access(path, F_OK) != 0)
        return missing(error, -ENOENT, "port %s: /dev/net/tun is missing; modprobe tun",
                       spec->name);
    if (access(path, R_OK | W_OK) != 0)
        return missing(error, -EACCES,
                       "port %s: no permission for /dev/net/tun; run as root, or: setcap "
                       "cap_net_admin+ep polluxd",
                       spec->name);
    return 0;
}

/* Connects to a memif socket until it is greeted: the memif driver of DPDK 22.11 does not survive it
 * if one goes before that. 0, or -errno of connect(2). */
static int memif_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, result;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    result = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
    if (result == 0) {
        struct pollfd greeted = {.fd = fd, .events = POLLIN};

        poll(&greeted, 1, MEMIF_GREETING_MS);
    }
    close(fd);
    return result;
}

static int check_memif(const struct dpdk_spec *spec, char *error)
{
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)] = "/run/memif.sock";
    char role[16] = "client", abstract[8] = "yes";
    struct stat status;
    int result;

    dpdk_spec_value(spec, "role", role, sizeof(role));
    dpdk_spec_value(spec, "socket-abstract", abstract, sizeof(abstract));
    if (!dpdk_spec_value(spec, "socket", path, sizeof(path)))
        return missing(
            error, -EINVAL,
            "port %s: it wants socket=PATH, at most %zu bytes, and role=server or client",
            spec->name, sizeof(path) - 1);
    if (strcmp(role, "server") != 0 && strcmp(role, "client") != 0)
        return missing(error, -EINVAL, "port %s: its role is server or client, not '%s'",
                       spec->name, role);
    if (strcmp(abstract, "no") != 0) /* no file: nothing to look at */
        return 0;
    if (stat(path, &status) != 0)
        return strcmp(role, "server") == 0
                   ? 0
                   : missing(error, -ENOENT, "port %s: no memif server at %s; start it first",
                             spec->name, path);
    if (strcmp(role, "client") == 0)
        return 0;
    result = memif_answers(path);
    if (result == 0)
        return missing(error, -EBUSY,
                       "port %s: another memif server listens at %s; give another socket=PATH",
                       spec->name, path);
    if (result == -ECONNREFUSED && S_ISSOCK(status.st_mode))
        unlink(path); /* left by a server that was killed: bind(2) would fail on it */
    return 0;
}

/* All zero where the driver names none. */
static struct ethtool_channels channels_of(const char *name)
{
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    struct ifreq request = {.ifr_data = (char *)&channels};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = -1;

    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
    if (fd >= 0) {
        result = ioctl(fd, SIOCETHTOOL, &request);
        close(fd);
    }
    return result == 0 ? channels : (struct ethtool_channels){0};
}

/* The interface that net_af_xdp is to use, and its first queue of it. False: it is another driver's
 * port. */
static bool xdp_interface(const struct dpdk_spec *spec, char name[IFNAMSIZ], unsigned *start)
{
    char first[16] = "0";

    if (strcmp(spec->driver, "net_af_xdp") != 0 || !dpdk_spec_value(spec, "iface", name, IFNAMSIZ))
        return false;
    dpdk_spec_value(spec, "start_queue", first, sizeof(first));
    *start = (unsigned)strtoul(first, NULL, 10);
    return true;
}

unsigned machine_queues(const struct dpdk_spec *spec, unsigned wanted)
{
    char name[IFNAMSIZ];
    unsigned queues, start;

    if (!xdp_interface(spec, name, &start))
        return wanted;
    queues = channels_of(name).combined_count; /* net_af_xdp counts no others */
    queues = queues > start ? queues - start : 1;
    return queues < wanted ? queues : wanted;
}

unsigned machine_queues_left(const struct dpdk_spec *spec, unsigned driven)
{
    char name[IFNAMSIZ];
    unsigned receive, start;

    if (!xdp_interface(spec, name, &start) || start != 0)
        return 0;
    struct ethtool_channels channels = channels_of(name);
    /* Some drivers tell the same ones as both. */
    receive =
        channels.rx_count > channels.combined_count ? channels.rx_count : channels.combined_count;
    return receive > driven ? receive - driven : 0;
}

const char *dpdk_queues_remedy(const char *driver)
{
    static const struct {
        const char *driver, *remedy;
    } rows[] = {
        {"net_af_xdp", "ethtool -L INTERFACE combined N"},
        {"net_af_packet", "qpairs=N in dpdk-port"},
        {"net_virtio", "queues=N of the hypervisor's device"},
        {"net_ena", "an instance type with more"},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(driver, rows[i].driver) == 0)
            return rows[i].remedy;
    return "a device that has them";
}

int machine_check(const char *root, const struct dpdk_spec *spec, char *error)
{
    if (spec->pci)
        return check_pci(root, spec, error);
    if (strcmp(spec->driver, "net_af_xdp") == 0 || strcmp(spec->driver, "net_af_packet") == 0)
        return check_interface(spec, error);
    if (strcmp(spec->driver, "net_tap") == 0)
        return check_tun(root, spec, error);
    if (strcmp(spec->driver, "net_memif") == 0)
        return check_memif(spec, error);
    return 0;
}
