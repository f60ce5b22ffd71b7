#include "pattern.h"

#include "aoe-frame.h"

enum { SECTOR_WORDS = SECTOR_BYTES / 8 };

static const uint64_t odd_step = 0x9e3779b97f4a7c15ull;

/* The finaliser of splitmix64: every bit of the input moves about half of those of the output. */
uint64_t scramble_64(uint64_t value)
{
    value += odd_step;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return value ^ value >> 31;
}

static uint64_t first_word(uint64_t lba, uint64_t seed)
{
    return scramble_64(lba ^ scramble_64(seed));
}

void pattern_fill(uint8_t *data, uint64_t lba, unsigned sectors, uint64_t seed)
{
    for (unsigned sector = 0; sector < sectors; sector++) {
        uint64_t words[SECTOR_WORDS];
        uint64_t first = first_word(lba + sector, seed);
        for (unsigned word = 0; word < SECTOR_WORDS; word++)
            words[word] = first + word * odd_step;
        memcpy(data + (size_t)sector * SECTOR_BYTES, words, sizeof words);
    }
}

unsigned pattern_wrong_sectors(const uint8_t *data, uint64_t lba, unsigned sectors, uint64_t seed)
{
    unsigned wrong = 0;
    for (unsigned sector = 0; sector < sectors; sector++) {
        uint8_t expected[SECTOR_BYTES];
        pattern_fill(expected, lba + sector, 1, seed);
        wrong += memcmp(expected, data + (size_t)sector * SECTOR_BYTES, SECTOR_BYTES) != 0;
    }
    return wrong;
}

void pattern_stamp(uint8_t *data, unsigned sectors, uint64_t serial)
{
    for (unsigned sector = 0; sector < sectors; sector++) {
        uint64_t stamp = serial << 8 | sector;
        memcpy(data + (size_t)sector * SECTOR_BYTES, &stamp, sizeof stamp);
    }
}

/* A bijection of the numbers of `bits` bits: each step of it can be undone. */
static uint64_t permute_bits(uint64_t value, unsigned bits, uint64_t key)
{
    uint64_t mask = (1ull << bits) - 1;
    unsigned half = bits / 2 + 1;
    for (int round = 0; round < 3; round++) {
        value = (value * (key << 1 | 1) + (key >> 7)) & mask;
        value ^= value >> half;
        key = scramble_64(key);
    }
    return value;
}

uint64_t visit_order(uint64_t index, uint64_t blocks, bool random, uint64_t seed)
{
    uint64_t position = index % blocks;
    if (!random || blocks < 2)
        return position;
    unsigned bits = 64 - (unsigned)__builtin_clzll(blocks - 1);
    uint64_t key = scramble_64(seed + index / blocks);
    /* Steps outside the image are repeated: the permutation closes over what is inside. */
    do
        position = permute_bits(position, bits, key);
    while (position >= blocks);
    return position;
}
