// Forwards Ethernet frames between two interfaces as a bad segment would: some are lost, some come
// twice, some are overtaken by the frames after them. The same seed and the same frames give the
// same faults. At SIGTERM it prints what it did.
//
//   frame-relay LEFT RIGHT SEED LOSS DUPLICATE REORDER    (rates in frames of a thousand)
//
// A frame that is sent twice is sent twice in a row, and one that is overtaken is held for a few
// frames or milliseconds: far less than the 100 ms after which the Linux driver repeats a request.
// A write that is still under way when its sender believes it done long ago, and has written there
// anew, destroys data over any server: the protocol has nothing against it.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FRAME_BYTES = 65536,
    MAX_HELD_FRAMES = 16,
    MAX_OVERTAKING_FRAMES = 4,
    HOLD_MS = 3,
    SOCKET_BUFFER_BYTES = 8 << 20,
};

struct held_frame {
    uint8_t *octets;
    size_t length;
    int overtaking_frames;
    int64_t until_ms;
};

// What goes one way.
struct direction {
    int from;
    int to;
    struct held_frame held[MAX_HELD_FRAMES];
    int held_count;
    unsigned long forwarded, lost, duplicated, overtaken;
};

static int loss_per_mille, duplicate_per_mille, reorder_per_mille;
static uint64_t random_state;
static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
    (void)signal_number;
    stopped = 1;
}

// xorshift64*, by Vigna.
static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * UINT64_C(2685821657736338717)) >> 33) % limit;
}

static int happens(int per_mille)
{
    return (int)random_below(1000) < per_mille;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int open_interface(const char *name)
{
    int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
    if (fd < 0) {
        fail("socket");
    }
    int yes = 1;
    int size = SOCKET_BUFFER_BYTES;
    if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) < 0
        || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0
        || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0) {
        fail("setsockopt");
    }
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(name),
    };
    if (address.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        fail(name);
    }
    struct packet_mreq everything = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &everything, sizeof everything) < 0) {
        fail(name);
    }
    return fd;
}

static void forward(struct direction *way, const uint8_t *octets, size_t length)
{
    // An end that is not up yet, as a TAP without its guest, loses the frame as a cable would.
    if (send(way->to, octets, length, 0) < 0 && errno != ENETDOWN && errno != EIO && errno != ENOBUFS) {
        fail("send");
    }
    way->forwarded++;
}

static void hold(struct direction *way, const uint8_t *octets, size_t length)
{
    struct held_frame *frame = &way->held[way->held_count++];
    frame->octets = malloc(length);
    if (frame->octets == NULL) {
        fail("malloc");
    }
    memcpy(frame->octets, octets, length);
    frame->length = length;
    frame->overtaking_frames = 1 + (int)random_below(MAX_OVERTAKING_FRAMES);
    frame->until_ms = now_ms() + HOLD_MS;
    way->overtaken++;
}

// Sends the held frames whose time has come: `passed` frames have overtaken them.
static void let_go(struct direction *way, int passed)
{
    int kept = 0;
    for (int i = 0; i < way->held_count; i++) {
        struct held_frame *frame = &way->held[i];
        frame->overtaking_frames -= passed;
        if (frame->overtaking_frames > 0 && now_ms() < frame->until_ms) {
            way->held[kept++] = *frame;
            continue;
        }
        forward(way, frame->octets, frame->length);
        free(frame->octets);
    }
    way->held_count = kept;
}

static void relay_one(struct direction *way)
{
    static uint8_t octets[MAX_FRAME_BYTES];
    ssize_t length = recv(way->from, octets, sizeof octets, MSG_DONTWAIT);
    if (length < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ENETDOWN) {
            fail("recv");
        }
        return;
    }
    if (happens(loss_per_mille)) {
        way->lost++;
        return;
    }
    if (way->held_count < MAX_HELD_FRAMES && happens(reorder_per_mille)) {
        hold(way, octets, (size_t)length);
        return;
    }
    forward(way, octets, (size_t)length);
    if (happens(duplicate_per_mille)) {
        forward(way, octets, (size_t)length);
        way->duplicated++;
    }
    let_go(way, 1);
}

int main(int count, char **arguments)
{
    if (count != 7) {
        fprintf(stderr, "usage: frame-relay LEFT RIGHT SEED LOSS DUPLICATE REORDER\n");
        return 2;
    }
    random_state = strtoull(arguments[3], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    loss_per_mille = atoi(arguments[4]);
    duplicate_per_mille = atoi(arguments[5]);
    reorder_per_mille = atoi(arguments[6]);
    int left = open_interface(arguments[1]);
    int right = open_interface(arguments[2]);
    struct direction ways[2] = {{.from = left, .to = right}, {.from = right, .to = left}};
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);

    while (!stopped) {
        struct pollfd waiting[2] = {{.fd = left, .events = POLLIN}, {.fd = right, .events = POLLIN}};
        int holds = ways[0].held_count + ways[1].held_count;
        if (poll(waiting, 2, holds > 0 ? 1 : 100) < 0 && errno != EINTR) {
            fail("poll");
        }
        for (int i = 0; i < 2; i++) {
            if (waiting[i].revents != 0) {
                relay_one(&ways[i]);
            }
            let_go(&ways[i], 0);
        }
    }
    for (int i = 0; i < 2; i++) {
        printf("{\"forwarded\": %lu, \"lost\": %lu, \"duplicated\": %lu, \"overtaken\": %lu}\n",
            ways[i].forwarded, ways[i].lost, ways[i].duplicated, ways[i].overtaken);
    }
    return 0;
}
