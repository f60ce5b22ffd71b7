/* A raw AoE socket on one interface, as the generator and the null target use it. */
#ifndef AOED_BENCH_PACKET_SOCKET_H
#define AOED_BENCH_PACKET_SOCKET_H

#include "aoe-frame.h"

#include <stdbool.h>

struct packet_socket {
    int descriptor;
    int interface_index;
    int mtu_bytes;
    uint8_t mac[MAC_BYTES];
};

/* Ends the program with status 2 and the reason on standard error when the socket cannot be had. */
struct packet_socket packet_socket_open(const char *interface_name);

/* Replies to other source addresses than the interface's own are wanted, too. */
void packet_socket_hear_everything(const struct packet_socket *socket);

/* One line on standard error, then exit status 2. */
__attribute__((format(printf, 1, 2), noreturn)) void refuse(const char *format, ...);

#endif
