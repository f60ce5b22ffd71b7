#define _GNU_SOURCE
#include "packet-socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_BUFFER_BYTES = 32 << 20 };

void refuse(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(2);
}

static void set_option(int descriptor, int level, int option, int value, const char *name)
{
    if (setsockopt(descriptor, level, option, &value, sizeof value) < 0)
        refuse("%s: %s", name, strerror(errno));
}

/* Large enough for every reply of the largest window; without the privilege, what is allowed. */
static void grow_receive_buffer(int descriptor)
{
    int bytes = RECEIVE_BUFFER_BYTES;
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        set_option(descriptor, SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
}

struct packet_socket packet_socket_open(const char *interface_name)
{
    struct packet_socket socket_ = {.interface_index = (int)if_nametoindex(interface_name)};
    if (socket_.interface_index == 0)
        refuse("%s: no such interface", interface_name);

    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(AOE_ETHERTYPE));
    if (descriptor < 0)
        refuse("AF_PACKET socket: %s (CAP_NET_RAW is needed)", strerror(errno));
    socket_.descriptor = descriptor;

    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface_name);
    if (ioctl(descriptor, SIOCGIFHWADDR, &request) < 0)
        refuse("%s: hardware address: %s", interface_name, strerror(errno));
    memcpy(socket_.mac, request.ifr_hwaddr.sa_data, MAC_BYTES);
    if (ioctl(descriptor, SIOCGIFMTU, &request) < 0)
        refuse("%s: MTU: %s", interface_name, strerror(errno));
    socket_.mtu_bytes = request.ifr_mtu;

    set_option(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING");
    set_option(descriptor, SOL_PACKET, PACKET_QDISC_BYPASS, 1, "PACKET_QDISC_BYPASS");
    grow_receive_buffer(descriptor);

    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(AOE_ETHERTYPE),
        .sll_ifindex = socket_.interface_index,
    };
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) < 0)
        refuse("%s: bind: %s", interface_name, strerror(errno));
    return socket_;
}

void packet_socket_hear_everything(const struct packet_socket *socket)
{
    struct packet_mreq membership = {
        .mr_ifindex = socket->interface_index,
        .mr_type = PACKET_MR_PROMISC,
    };
    if (setsockopt(socket->descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership,
                   sizeof membership) < 0)
        refuse("promiscuous mode: %s", strerror(errno));
}
