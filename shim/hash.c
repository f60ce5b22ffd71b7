/*
 * SHA-256 of many pieces of memory in one call.
 *
 * The instructions for SHA-256 (SHA-NI on x86-64, the SHA2 extension on ARMv8) have a latency
 * several times their throughput, and the rounds of one message depend on each other: three messages
 * of the same length side by side take hardly longer than one. What the processor can do is asked
 * once. FIPS 180-4 is the source of the algorithm and its constants.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <pthread.h>
#include <string.h>

#define BLOCK_BYTES 64
#define DIGEST_BYTES 32
#define LANES 3

static const uint32_t initial_state[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Adds `blocks` blocks of 64 bytes to the state of each of `lanes` messages. */
typedef void compress_function(uint32_t states[][8], const uint8_t *const *data, size_t blocks,
                               int lanes);

static inline uint32_t rotate_right(uint32_t value, int bits)
{
    return (value >> bits) | (value << (32 - bits));
}

static inline uint32_t load_big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void compress_portable_block(uint32_t state[8], const uint8_t *data)
{
    uint32_t words[64];
    for (int i = 0; i < 16; i++)
        words[i] = load_big_endian(data + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t near = words[i - 2], far = words[i - 15];
        uint32_t small1 = rotate_right(near, 17) ^ rotate_right(near, 19) ^ (near >> 10);
        uint32_t small0 = rotate_right(far, 7) ^ rotate_right(far, 18) ^ (far >> 3);
        words[i] = small1 + words[i - 7] + small0 + words[i - 16];
    }

    uint32_t v[8];
    memcpy(v, state, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t big1 = rotate_right(v[4], 6) ^ rotate_right(v[4], 11) ^ rotate_right(v[4], 25);
        uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t sum1 = v[7] + big1 + choice + round_constants[i] + words[i];
        uint32_t big0 = rotate_right(v[0], 2) ^ rotate_right(v[0], 13) ^ rotate_right(v[0], 22);
        uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        memmove(v + 1, v, 7 * sizeof v[0]);
        v[4] += sum1;
        v[0] = sum1 + big0 + majority;
    }
    for (int i = 0; i < 8; i++)
        state[i] += v[i];
}

static void compress_portable(uint32_t states[][8], const uint8_t *const *data, size_t blocks,
                              int lanes)
{
    for (int lane = 0; lane < lanes; lane++) {
        for (size_t block = 0; block < blocks; block++)
            compress_portable_block(states[lane], data[lane] + block * BLOCK_BYTES);
    }
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

#define SHA_NI __attribute__((target("sha,sse4.1,ssse3")))

/* Four rounds of every lane, and its part of the message schedule; `i` counts from 0 to 15. */
#define FOUR_ROUNDS(i)                                                                             \
    _Pragma("GCC unroll 3") for (int lane = 0; lane < LANE_COUNT; lane++)                          \
    {                                                                                              \
        __m128i *m = words[lane];                                                                  \
        if ((i) < 4) {                                                                             \
            const uint8_t *from = data[lane] + block * BLOCK_BYTES + 16 * (i);                     \
            m[(i) % 4] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)from), swap);           \
        }                                                                                          \
        __m128i sum = _mm_add_epi32(m[(i) % 4], constants[i]);                                     \
        cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sum);                           \
        if ((i) >= 3 && (i) < 15) {                                                                \
            __m128i middle = _mm_alignr_epi8(m[(i) % 4], m[((i) + 3) % 4], 4);                     \
            __m128i next = _mm_add_epi32(m[((i) + 1) % 4], middle);                                \
            m[((i) + 1) % 4] = _mm_sha256msg2_epu32(next, m[(i) % 4]);                             \
        }                                                                                          \
        sum = _mm_shuffle_epi32(sum, 0x0e);                                                        \
        abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], sum);                           \
        if ((i) >= 1 && (i) < 13)                                                                  \
            m[((i) + 3) % 4] = _mm_sha256msg1_epu32(m[((i) + 3) % 4], m[(i) % 4]);                 \
    }

/* The instructions want the state as ABEF and CDGH. */
#define DEFINE_COMPRESS(name, lane_count)                                                          \
    SHA_NI static void name(uint32_t states[][8], const uint8_t *const *data, size_t blocks)       \
    {                                                                                              \
        enum { LANE_COUNT = lane_count };                                                          \
        const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);               \
        const __m128i *constants = (const __m128i *)round_constants;                               \
        __m128i abef[LANE_COUNT], cdgh[LANE_COUNT], words[LANE_COUNT][4];                          \
        _Pragma("GCC unroll 3") for (int lane = 0; lane < LANE_COUNT; lane++)                      \
        {                                                                                          \
            const __m128i *from = (const __m128i *)states[lane];                                   \
            __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(from), 0xb1);                         \
            __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(from + 1), 0x1b);                     \
            abef[lane] = _mm_alignr_epi8(cdab, efgh, 8);                                           \
            cdgh[lane] = _mm_blend_epi16(efgh, cdab, 0xf0);                                        \
        }                                                                                          \
        for (size_t block = 0; block < blocks; block++) {                                          \
            __m128i abef_before[LANE_COUNT], cdgh_before[LANE_COUNT];                              \
            memcpy(abef_before, abef, sizeof abef);                                                \
            memcpy(cdgh_before, cdgh, sizeof cdgh);                                                \
            FOUR_ROUNDS(0) FOUR_ROUNDS(1) FOUR_ROUNDS(2) FOUR_ROUNDS(3)                            \
            FOUR_ROUNDS(4) FOUR_ROUNDS(5) FOUR_ROUNDS(6) FOUR_ROUNDS(7)                            \
            FOUR_ROUNDS(8) FOUR_ROUNDS(9) FOUR_ROUNDS(10) FOUR_ROUNDS(11)                          \
            FOUR_ROUNDS(12) FOUR_ROUNDS(13) FOUR_ROUNDS(14) FOUR_ROUNDS(15)                        \
            _Pragma("GCC unroll 3") for (int lane = 0; lane < LANE_COUNT; lane++)                  \
            {                                                                                      \
                abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);                         \
                cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);                         \
            }                                                                                      \
        }                                                                                          \
        _Pragma("GCC unroll 3") for (int lane = 0; lane < LANE_COUNT; lane++)                      \
        {                                                                                          \
            __m128i *to = (__m128i *)states[lane];                                                 \
            __m128i feba = _mm_shuffle_epi32(abef[lane], 0x1b);                                    \
            __m128i dchg = _mm_shuffle_epi32(cdgh[lane], 0xb1);                                    \
            _mm_storeu_si128(to, _mm_blend_epi16(feba, dchg, 0xf0));                               \
            _mm_storeu_si128(to + 1, _mm_alignr_epi8(dchg, feba, 8));                              \
        }                                                                                          \
    }

DEFINE_COMPRESS(compress_one, 1)
DEFINE_COMPRESS(compress_three, LANES)

static void compress_accelerated(uint32_t states[][8], const uint8_t *const *data, size_t blocks,
                                 int lanes)
{
    if (lanes == LANES) {
        compress_three(states, data, blocks);
        return;
    }
    for (int lane = 0; lane < lanes; lane++)
        compress_one(states + lane, data + lane, blocks);
}

static bool is_accelerated(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_SSSE3) == 0 || (c & bit_SSE4_1) == 0)
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29)) != 0;
}

#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>

#ifndef HWCAP_SHA2
#define HWCAP_SHA2 (1 << 6)
#endif

__attribute__((target("+crypto"))) static void
compress_one(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (size_t block = 0; block < blocks; block++, data += BLOCK_BYTES) {
        uint32x4_t abcd_before = abcd, efgh_before = efgh, words[4];
        for (int i = 0; i < 4; i++)
            words[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
        for (int i = 0; i < 16; i++) {
            uint32x4_t sum = vaddq_u32(words[i % 4], vld1q_u32(round_constants + 4 * i));
            if (i < 12) {
                uint32x4_t next = vsha256su0q_u32(words[i % 4], words[(i + 1) % 4]);
                words[i % 4] = vsha256su1q_u32(next, words[(i + 2) % 4], words[(i + 3) % 4]);
            }
            uint32x4_t before = abcd;
            abcd = vsha256hq_u32(abcd, efgh, sum);
            efgh = vsha256h2q_u32(efgh, before, sum);
        }
        abcd = vaddq_u32(abcd, abcd_before);
        efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd);
    vst1q_u32(state + 4, efgh);
}

static void compress_accelerated(uint32_t states[][8], const uint8_t *const *data, size_t blocks,
                                 int lanes)
{
    for (int lane = 0; lane < lanes; lane++)
        compress_one(states[lane], data[lane], blocks);
}

static bool is_accelerated(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
}

#else

static void compress_accelerated(uint32_t states[][8], const uint8_t *const *data, size_t blocks,
                                 int lanes)
{
    compress_portable(states, data, blocks, lanes);
}

static bool is_accelerated(void)
{
    return false;
}

#endif

/* Asked once, for all threads: in a virtual machine the question leaves the machine. */
static bool accelerated;
static pthread_once_t asked = PTHREAD_ONCE_INIT;

static void ask(void)
{
    accelerated = is_accelerated();
}

/* The end of a message: what does not fill a block, the bit 1, and the length in bits. */
static size_t pad(uint8_t tail[2 * BLOCK_BYTES], const uint8_t *message, size_t length_bytes)
{
    size_t rest = length_bytes % BLOCK_BYTES;
    size_t blocks = rest < BLOCK_BYTES - 8 ? 1 : 2;
    uint64_t length_bits = (uint64_t)length_bytes * 8;
    memset(tail, 0, 2 * BLOCK_BYTES);
    memcpy(tail, message + length_bytes - rest, rest);
    tail[rest] = 0x80;
    for (int i = 0; i < 8; i++)
        tail[blocks * BLOCK_BYTES - 1 - i] = (uint8_t)(length_bits >> (8 * i));
    return blocks;
}

/* Hashes `lanes` messages of the same length. */
static void hash_lanes(compress_function *compress, const uint8_t *const *messages,
                       size_t length_bytes, int lanes, uint8_t *digests)
{
    uint32_t states[LANES][8];
    uint8_t tails[LANES][2 * BLOCK_BYTES];
    const uint8_t *tail_data[LANES] = {tails[0], tails[1], tails[2]};
    size_t tail_blocks = 0;
    for (int lane = 0; lane < lanes; lane++) {
        memcpy(states[lane], initial_state, sizeof initial_state);
        tail_blocks = pad(tails[lane], messages[lane], length_bytes);
    }
    compress(states, messages, length_bytes / BLOCK_BYTES, lanes);
    compress(states, tail_data, tail_blocks, lanes);
    for (int lane = 0; lane < lanes; lane++) {
        for (int i = 0; i < 8; i++) {
            uint32_t word = __builtin_bswap32(states[lane][i]);
            memcpy(digests + lane * DIGEST_BYTES + 4 * i, &word, sizeof word);
        }
    }
}

static napi_value hash_pieces_with(compress_function *compress, napi_env env,
                                   napi_callback_info info)
{
    napi_value arguments[5];
    shim_arguments(env, info, 5, arguments);
    size_t source_bytes, offsets_bytes, lengths_bytes, target_bytes;
    const uint8_t *source = shim_bytes(env, arguments[0], &source_bytes);
    const uint32_t *offsets = (const uint32_t *)shim_bytes(env, arguments[1], &offsets_bytes);
    const uint32_t *lengths = (const uint32_t *)shim_bytes(env, arguments[2], &lengths_bytes);
    int64_t count = shim_int64(env, arguments[3]);
    uint8_t *target = shim_bytes(env, arguments[4], &target_bytes);
    if (count < 0 || (size_t)count > offsets_bytes / 4 || (size_t)count > lengths_bytes / 4 ||
        (size_t)count > target_bytes / DIGEST_BYTES)
        return shim_misuse(env, "hashPieces: an array is too short");

    for (int64_t piece = 0; piece < count;) {
        const uint8_t *messages[LANES];
        int lanes = 0;
        while (lanes < LANES && piece + lanes < count &&
               lengths[piece + lanes] == lengths[piece]) {
            size_t offset = offsets[piece + lanes];
            if (offset > source_bytes || lengths[piece] > source_bytes - offset)
                return shim_misuse(env, "hashPieces: a piece is outside its source");
            messages[lanes++] = source + offset;
        }
        hash_lanes(compress, messages, lengths[piece], lanes, target + piece * DIGEST_BYTES);
        piece += lanes;
    }
    return NULL;
}

/*
 * hashPieces(source, offsets: Uint32Array, lengths: Uint32Array, count, target): void. Writes 32
 * bytes for each piece. Pieces of the same length that follow each other are hashed side by side.
 */
static napi_value hash_pieces(napi_env env, napi_callback_info info)
{
    return hash_pieces_with(accelerated ? compress_accelerated : compress_portable, env, info);
}

/* hashPiecesPortable: the same without special instructions, for the tests. */
static napi_value hash_pieces_portable(napi_env env, napi_callback_info info)
{
    return hash_pieces_with(compress_portable, env, info);
}

/* hashIsAccelerated(): boolean. Without, the runtime's own SHA-256 is faster. */
static napi_value hash_is_accelerated(napi_env env, napi_callback_info info)
{
    (void)info;
    napi_value result;
    napi_get_boolean(env, accelerated, &result);
    return result;
}

void shim_register_hash(napi_env env, napi_value exports)
{
    pthread_once(&asked, ask);
    shim_export_function(env, exports, "hashPieces", hash_pieces);
    shim_export_function(env, exports, "hashPiecesPortable", hash_pieces_portable);
    shim_export_function(env, exports, "hashIsAccelerated", hash_is_accelerated);
}
