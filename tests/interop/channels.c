/* For LD_PRELOAD into polluxd: a veth counts receive and transmit queues, as cards do that have them in
 * pairs count combined ones. net_af_xdp of DPDK asks for combined ones alone and takes none for one
 * queue, so that without this it drives one queue of a veth, however many there are. */
#define _GNU_SOURCE
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *argument;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);

    int result = (int)syscall(SYS_ioctl, fd, request, argument);

    if (result == 0 && request == SIOCETHTOOL) {
        struct ethtool_channels *channels = (void *)((struct ifreq *)argument)->ifr_data;

        if (channels->cmd == ETHTOOL_GCHANNELS && channels->max_combined == 0) {
            channels->max_combined = channels->max_rx;
            channels->combined_count = channels->rx_count;
        }
    }
    return result;
}
