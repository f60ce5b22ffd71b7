/* What a sector holds, and in which order sectors are visited. */
#ifndef AOED_BENCH_PATTERN_H
#define AOED_BENCH_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

uint64_t scramble_64(uint64_t value);

/* Fills whole sectors with words that follow from the LBA and the seed alone. */
void pattern_fill(uint8_t *data, uint64_t lba, unsigned sectors, uint64_t seed);

/* How many of the sectors do not hold what pattern_fill would have written. */
unsigned pattern_wrong_sectors(const uint8_t *data, uint64_t lba, unsigned sectors, uint64_t seed);

/* Makes every 512 octets unlike any others, at the price of one store per sector. */
void pattern_stamp(uint8_t *data, unsigned sectors, uint64_t serial);

/*
 * The block to visit as the `index`-th. Each pass over `blocks` visits every block once, so a run of
 * one pass over a cold image never meets a block that it has already made hot.
 */
uint64_t visit_order(uint64_t index, uint64_t blocks, bool random, uint64_t seed);

#endif
