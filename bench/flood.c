/*
 * flood IF DESTINATION-MAC SOURCE-MAC SHELF SLOT FRAMES-PER-SECOND SECONDS: sends AoE requests that no
 * initiator would: many at once without waiting for an answer, half of them reads that must be
 * served, half of them broken. Prints how many it has sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, FRAME_BYTES = 60, KINDS = 8, MOST_SECONDS = 60, MOST_RATE = 500000 };

static uint8_t frames[KINDS][FRAME_BYTES];

static void read_mac(const char *text, uint8_t *mac)
{
    if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4,
               mac + 5) != 6)
        exit(2);
}

static void make_frames(char **argv)
{
    for (int kind = 0; kind < KINDS; kind++) {
        uint8_t *frame = frames[kind];
        read_mac(argv[2], frame);
        read_mac(argv[3], frame + 6);
        frame[12] = 0x88;
        frame[13] = 0xa2;
        frame[14] = 0x10;
        frame[16] = (uint8_t)(atoi(argv[4]) >> 8);
        frame[17] = (uint8_t)atoi(argv[4]);
        frame[18] = (uint8_t)atoi(argv[5]);
        frame[20] = (uint8_t)kind;
        frame[26] = 2;                            /* sectors */
        frame[27] = 0x20;                         /* READ SECTORS */
        frame[28] = (uint8_t)(8 * kind);
    }
    frames[1][14] = 0x20;                         /* another version */
    frames[3][19] = 9;                            /* no such command */
    frames[5][26] = 255;                          /* more than a frame holds */
    frames[7][31] = 0x0f;                         /* beyond the end of the disk */
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    int64_t rate = atoi(argv[6]);
    int64_t seconds = atoi(argv[7]);
    if (rate < 1 || rate > MOST_RATE || seconds < 1 || seconds > MOST_SECONDS)
        return 2;
    make_frames(argv);
    int descriptor = socket(AF_PACKET, SOCK_RAW, 0);
    int on = 1;
    setsockopt(descriptor, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                  .sll_protocol = 0,
                                  .sll_ifindex = (int)if_nametoindex(argv[1])};
    if (descriptor < 0 || bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        return 1;

    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    memset(messages, 0, sizeof messages);
    for (int index = 0; index < BATCH; index++) {
        parts[index] = (struct iovec){frames[index % KINDS], FRAME_BYTES};
        messages[index].msg_hdr.msg_iov = &parts[index];
        messages[index].msg_hdr.msg_iovlen = 1;
    }
    int64_t start = now_ns();
    int64_t end = start + seconds * INT64_C(1000000000);
    int64_t sent = 0;
    for (int64_t now = start; now < end; now = now_ns()) {
        int64_t due = (now - start) * rate / INT64_C(1000000000);
        if (due - sent < BATCH) {
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
            continue;
        }
        int count = sendmmsg(descriptor, messages, BATCH, MSG_DONTWAIT);
        if (count > 0)
            sent += count;
    }
    printf("%lld\n", (long long)sent);
    return 0;
}
