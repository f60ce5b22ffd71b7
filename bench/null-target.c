/*
 * The limit of the machine: an AoE target that does nothing but answer. It serves memory, knows one
 * address and four commands, checks only what keeps it inside its memory, and moves batches with
 * recvmmsg and sendmmsg. What a real server costs beyond this is its own.
 */
#define _GNU_SOURCE
#include "packet-socket.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

/*
 * A batch is answered as a whole, so a large one makes server and client take turns instead of
 * working side by side.
 */
enum { MOST_FRAMES = 64, FRAME_BYTES = 10240, SERVED_BUFFER_COUNT = 256 };

static struct {
    const char *interface_name;
    uint16_t shelf;
    uint8_t slot;
    unsigned batch_frames;
    uint64_t drop_every;
    uint64_t size_sectors;
    uint8_t *memory;
    unsigned most_sectors;
    uint64_t frames_seen;
} target = {.shelf = 1, .batch_frames = 16, .size_sectors = 256 << 11};

static uint8_t frames[MOST_FRAMES][FRAME_BYTES] __attribute__((aligned(64)));

static void read_arguments(int argument_count, char **arguments)
{
    static const struct option known[] = {
        {"interface", required_argument, NULL, 'i'}, {"shelf", required_argument, NULL, 'h'},
        {"slot", required_argument, NULL, 'l'},      {"mebibytes", required_argument, NULL, 'm'},
        {"batch", required_argument, NULL, 'b'},     {"drop-every", required_argument, NULL, 'd'},
        {0},
    };
    int option;
    while ((option = getopt_long(argument_count, arguments, "", known, NULL)) != -1) {
        switch (option) {
        case 'i': target.interface_name = optarg; break;
        case 'h': target.shelf = (uint16_t)atoi(optarg); break;
        case 'l': target.slot = (uint8_t)atoi(optarg); break;
        case 'm': target.size_sectors = strtoull(optarg, NULL, 10) << 11; break;
        case 'b': target.batch_frames = (unsigned)atoi(optarg); break;
        case 'd': target.drop_every = strtoull(optarg, NULL, 10); break;
        default: exit(2);
        }
    }
    if (target.interface_name == NULL || target.size_sectors == 0)
        refuse("usage: null-target --interface NAME [--shelf N] [--slot N] [--mebibytes N] "
               "[--batch N] [--drop-every N]");
    if (target.batch_frames < 1 || target.batch_frames > MOST_FRAMES)
        refuse("--batch: 1 to %d", MOST_FRAMES);
}

static size_t answer_config(uint8_t *frame)
{
    put_u16(frame + OFFSET_BUFFER_COUNT, SERVED_BUFFER_COUNT);
    put_u16(frame + OFFSET_BUFFER_COUNT + 2, 0);
    frame[OFFSET_MOST_SECTORS] = (uint8_t)target.most_sectors;
    frame[OFFSET_CONFIG_COMMAND] = AOE_VERSION_1;
    memset(frame + OFFSET_CONFIG_LENGTH, 0, SHORTEST_FRAME_BYTES - OFFSET_CONFIG_LENGTH);
    return SHORTEST_FRAME_BYTES;
}

static size_t answer_identify(uint8_t *frame)
{
    uint8_t *words = frame + ATA_HEADER_BYTES;
    memset(words, 0, SECTOR_BYTES);
    words[83 * 2 + 1] = 0x44; /* LBA48, and the bit that says that the word is valid */
    words[86 * 2 + 1] = 0x04;
    for (int octet = 0; octet < 8; octet++)
        words[100 * 2 + octet] = (uint8_t)(target.size_sectors >> 8 * octet);
    return ATA_HEADER_BYTES + SECTOR_BYTES;
}

/*
 * Turns the ATA request in `frame` into its reply: the octets to send from the frame, and in `data`
 * what follows them straight from the memory served.
 */
static size_t answer_ata(uint8_t *frame, size_t frame_bytes, struct iovec *data)
{
    uint8_t command = frame[OFFSET_ATA_COMMAND];
    unsigned sectors = frame[OFFSET_SECTOR_COUNT];
    uint64_t lba = get_lba(frame);
    size_t data_bytes = (size_t)sectors * SECTOR_BYTES;
    uint8_t *at = target.memory + lba * SECTOR_BYTES;

    frame[OFFSET_ATA_COMMAND] = ATA_STATUS_READY;
    frame[OFFSET_ATA_ERROR] = 0;
    frame[OFFSET_SECTOR_COUNT] = 0;
    if (command == ATA_IDENTIFY)
        return answer_identify(frame);

    bool known = command == ATA_READ_EXT || command == ATA_WRITE_EXT;
    bool whole = command != ATA_WRITE_EXT || frame_bytes >= ATA_HEADER_BYTES + data_bytes;
    if (!known || !whole || sectors == 0 || sectors > target.most_sectors ||
        lba + sectors > target.size_sectors) {
        frame[OFFSET_ATA_COMMAND] = ATA_STATUS_READY | ATA_STATUS_ERROR;
        frame[OFFSET_ATA_ERROR] = ATA_ERROR_ABORTED;
        return SHORTEST_FRAME_BYTES;
    }
    if (command == ATA_WRITE_EXT) {
        memcpy(at, frame + ATA_HEADER_BYTES, data_bytes);
        memset(frame + ATA_HEADER_BYTES, 0, SHORTEST_FRAME_BYTES - ATA_HEADER_BYTES);
        return SHORTEST_FRAME_BYTES;
    }
    *data = (struct iovec){.iov_base = at, .iov_len = data_bytes};
    return ATA_HEADER_BYTES;
}

static bool addressed_to_us(const uint8_t *frame, size_t frame_bytes)
{
    uint16_t shelf = get_u16(frame + OFFSET_SHELF);
    uint8_t slot = frame[OFFSET_SLOT];
    return frame_bytes >= ATA_HEADER_BYTES &&
           !(frame[OFFSET_VERSION_FLAGS] & AOE_FLAG_RESPONSE) &&
           (shelf == target.shelf || shelf == 0xffff) && (slot == target.slot || slot == 0xff);
}

/* The reply in `vectors` (header, data); false when the frame gets none. */
static bool answer(const struct packet_socket *socket, uint8_t *frame, size_t frame_bytes,
                   struct iovec vectors[2])
{
    if (!addressed_to_us(frame, frame_bytes))
        return false;
    if (target.drop_every != 0 && ++target.frames_seen % target.drop_every == 0)
        return false;

    uint8_t command = frame[OFFSET_COMMAND];
    vectors[0].iov_base = frame;
    vectors[1] = (struct iovec){0};
    if (command == AOE_COMMAND_CONFIG)
        vectors[0].iov_len = answer_config(frame);
    else if (command == AOE_COMMAND_ATA)
        vectors[0].iov_len = answer_ata(frame, frame_bytes, &vectors[1]);
    else
        return false;

    uint8_t requester[MAC_BYTES];
    memcpy(requester, frame + OFFSET_SOURCE, MAC_BYTES);
    put_aoe_header(frame, requester, socket->mac, target.shelf, target.slot, command,
                   get_u32(frame + OFFSET_TAG));
    frame[OFFSET_VERSION_FLAGS] |= AOE_FLAG_RESPONSE;
    return true;
}

static void send_all(int descriptor, struct mmsghdr *messages, unsigned count)
{
    for (unsigned sent = 0; sent < count;) {
        int accepted = sendmmsg(descriptor, messages + sent, count - sent, 0);
        if (accepted < 0 && errno != EINTR && errno != ENOBUFS)
            refuse("sendmmsg: %s", strerror(errno));
        if (accepted > 0)
            sent += (unsigned)accepted;
    }
}

static void serve(const struct packet_socket *socket)
{
    struct mmsghdr received[MOST_FRAMES] = {0};
    struct mmsghdr replies[MOST_FRAMES] = {0};
    struct iovec received_vectors[MOST_FRAMES];
    struct iovec reply_vectors[MOST_FRAMES][2];

    for (unsigned index = 0; index < target.batch_frames; index++) {
        received_vectors[index] = (struct iovec){frames[index], FRAME_BYTES};
        received[index].msg_hdr.msg_iov = &received_vectors[index];
        received[index].msg_hdr.msg_iovlen = 1;
        replies[index].msg_hdr.msg_iov = reply_vectors[index];
        replies[index].msg_hdr.msg_iovlen = 2;
    }
    for (;;) {
        int count = recvmmsg(socket->descriptor, received, target.batch_frames, MSG_WAITFORONE,
                             NULL);
        if (count < 0 && errno != EINTR && errno != ENETDOWN)
            refuse("recvmmsg: %s", strerror(errno));
        unsigned reply_count = 0;
        for (int index = 0; index < count; index++)
            reply_count += answer(socket, frames[index], received[index].msg_len,
                                  reply_vectors[reply_count]);
        send_all(socket->descriptor, replies, reply_count);
    }
}

int main(int argument_count, char **arguments)
{
    read_arguments(argument_count, arguments);
    struct packet_socket socket = packet_socket_open(target.interface_name);
    int fitting = (socket.mtu_bytes - ATA_HEADER_BYTES) / SECTOR_BYTES;
    target.most_sectors = fitting > 16 ? 16 : (unsigned)fitting;

    /* Touched in advance: a page fault is no part of what is measured. */
    target.memory = mmap(NULL, target.size_sectors * SECTOR_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (target.memory == MAP_FAILED)
        refuse("%llu sectors of memory: %s", (unsigned long long)target.size_sectors,
               strerror(errno));
    serve(&socket);
}
