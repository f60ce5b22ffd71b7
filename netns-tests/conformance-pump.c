// Carries Ethernet frames between one interface and standard input and output, so that a test can
// send any frame whatever its length or addresses, and sees every AoE frame that arrives, also
// those for other stations. On both pipes a frame is a length of four octets, least significant
// first, and its octets.
//
//   conformance-pump INTERFACE      "ready" on standard error; ends with its standard input

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    AOE_ETHER_TYPE = 0x88a2,
    MAX_FRAME_BYTES = 65536,
    RECEIVE_BUFFER_BYTES = 16 << 20,
};

static uint8_t frame[MAX_FRAME_BYTES];

static void fail(const char *what)
{
    fprintf(stderr, "conformance-pump: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_socket(const char *interface)
{
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd < 0)
        fail("socket");
    int buffer = RECEIVE_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    int one = 1;
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) != 0)
        fail("PACKET_IGNORE_OUTGOING");
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(AOE_ETHER_TYPE),
        .sll_ifindex = (int)if_nametoindex(interface),
    };
    if (address.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail(interface);
    return fd;
}

// Reads exactly that much; false at the end of the input.
static bool read_all(void *to, size_t length)
{
    uint8_t *next = to;
    while (length > 0) {
        ssize_t got = read(STDIN_FILENO, next, length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        next += got;
        length -= (size_t)got;
    }
    return true;
}

static void write_all(const void *from, size_t length)
{
    const uint8_t *next = from;
    while (length > 0) {
        ssize_t put = write(STDOUT_FILENO, next, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            exit(0);
        next += put;
        length -= (size_t)put;
    }
}

static bool send_one(int fd)
{
    uint8_t head[4];
    if (!read_all(head, sizeof head))
        return false;
    uint32_t length = head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16;
    if (head[3] != 0 || length > sizeof frame || !read_all(frame, length))
        return false;
    // A frame that the link does not take, too long or while it is down, is lost like any other.
    while (send(fd, frame, length, 0) < 0 && errno == EINTR)
        continue;
    return true;
}

static void receive_waiting(int fd)
{
    for (;;) {
        ssize_t length = recv(fd, frame, sizeof frame, MSG_DONTWAIT);
        if (length < 0)
            return;
        uint8_t head[4] = {
            (uint8_t)length,
            (uint8_t)(length >> 8),
            (uint8_t)(length >> 16),
            0,
        };
        write_all(head, sizeof head);
        write_all(frame, (size_t)length);
    }
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: conformance-pump INTERFACE\n");
        return 2;
    }
    int fd = open_socket(arguments[1]);
    fprintf(stderr, "ready\n");
    for (;;) {
        struct pollfd waiting[2] = {
            {.fd = STDIN_FILENO, .events = POLLIN},
            {.fd = fd, .events = POLLIN},
        };
        if (poll(waiting, 2, -1) < 0 && errno != EINTR)
            fail("poll");
        if (waiting[1].revents != 0)
            receive_waiting(fd);
        if (waiting[0].revents != 0 && !send_one(fd))
            return 0;
    }
}
