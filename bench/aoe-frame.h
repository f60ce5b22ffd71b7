/*
 * The part of the AoE wire format that the benchmark needs: header, Config/Query and the ATA
 * command (AoEr11 §2 and §3.1; ATA8-ACS for the registers). Offsets count from the first octet of
 * the Ethernet header; numbers are big-endian but for the LBA.
 */
#ifndef AOED_BENCH_AOE_FRAME_H
#define AOED_BENCH_AOE_FRAME_H

#include <stdint.h>
#include <string.h>

enum {
    AOE_ETHERTYPE = 0x88a2,
    SECTOR_BYTES = 512,
    MAC_BYTES = 6,
    SHORTEST_FRAME_BYTES = 60,
    CONFIG_HEADER_BYTES = 32,
    ATA_HEADER_BYTES = 36,
    LONGEST_FRAME_BYTES = ATA_HEADER_BYTES + 255 * SECTOR_BYTES,
};

enum {
    OFFSET_DESTINATION = 0,
    OFFSET_SOURCE = 6,
    OFFSET_ETHERTYPE = 12,
    OFFSET_VERSION_FLAGS = 14,
    OFFSET_AOE_ERROR = 15,
    OFFSET_SHELF = 16,
    OFFSET_SLOT = 18,
    OFFSET_COMMAND = 19,
    OFFSET_TAG = 20,

    OFFSET_BUFFER_COUNT = 24,
    OFFSET_MOST_SECTORS = 28,
    OFFSET_CONFIG_COMMAND = 29,
    OFFSET_CONFIG_LENGTH = 30,

    OFFSET_ATA_FLAGS = 24,
    OFFSET_ATA_ERROR = 25,
    OFFSET_SECTOR_COUNT = 26,
    OFFSET_ATA_COMMAND = 27,
    OFFSET_LBA = 28,
};

enum {
    AOE_VERSION_1 = 0x10,
    AOE_FLAG_RESPONSE = 0x08,
    AOE_FLAG_ERROR = 0x04,
    AOE_COMMAND_ATA = 0,
    AOE_COMMAND_CONFIG = 1,

    ATA_FLAG_EXTENDED = 0x40,
    ATA_FLAG_WRITE = 0x01,
    ATA_READ_EXT = 0x24,
    ATA_WRITE_EXT = 0x34,
    ATA_IDENTIFY = 0xec,
    ATA_STATUS_READY = 0x40,
    ATA_STATUS_ERROR = 0x01,
    ATA_STATUS_FAILED = 0xa9, /* BSY, DF, DRQ, ERR: what the Linux driver takes for a fault */
    ATA_ERROR_ABORTED = 0x04,
    ATA_ERROR_NOT_FOUND = 0x10,
};

static inline void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, (uint16_t)(value >> 16));
    put_u16(at + 2, (uint16_t)value);
}

static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) << 16 | get_u16(at + 2);
}

static inline void put_lba(uint8_t *frame, uint64_t lba)
{
    for (int octet = 0; octet < 6; octet++)
        frame[OFFSET_LBA + octet] = (uint8_t)(lba >> 8 * octet);
}

static inline uint64_t get_lba(const uint8_t *frame)
{
    uint64_t lba = 0;
    for (int octet = 5; octet >= 0; octet--)
        lba = lba << 8 | frame[OFFSET_LBA + octet];
    return lba;
}

/* Everything up to the tag; the rest of the frame is left as it was. */
static inline void put_aoe_header(uint8_t *frame, const uint8_t *destination, const uint8_t *source,
                                  uint16_t shelf, uint8_t slot, uint8_t command, uint32_t tag)
{
    memcpy(frame + OFFSET_DESTINATION, destination, MAC_BYTES);
    memcpy(frame + OFFSET_SOURCE, source, MAC_BYTES);
    put_u16(frame + OFFSET_ETHERTYPE, AOE_ETHERTYPE);
    frame[OFFSET_VERSION_FLAGS] = AOE_VERSION_1;
    frame[OFFSET_AOE_ERROR] = 0;
    put_u16(frame + OFFSET_SHELF, shelf);
    frame[OFFSET_SLOT] = slot;
    frame[OFFSET_COMMAND] = command;
    put_u32(frame + OFFSET_TAG, tag);
}

#endif
