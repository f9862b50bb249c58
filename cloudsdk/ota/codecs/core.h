/* QuickLZ level 3, FastLZ levels 1 and 2, FNV-1a: the C twin of cloudsdk/ota/codecs/pure.
 *
 * Every function takes the sizes of what it reads and writes, touches nothing outside, allocates nothing and
 * keeps no state. A coder returns the bytes it wrote, or one of core_error; then the output is undefined.
 * The facts are those of rbl-format 2.2 and 2.3; the rules for bad input are those of the Python twin.
 */
#ifndef CLOUDSIM_CODEC_CORE_H
#define CLOUDSIM_CODEC_CORE_H

#include <stddef.h>
#include <stdint.h>

enum core_error {
    CORE_E_CAPACITY = -1, /* the output is too small */
    CORE_E_HEADER = -2,   /* the first bytes do not begin a block of this size */
    CORE_E_ENDS = -3,     /* the block ends before its raw data; `at` bytes were decoded */
    CORE_E_LITERALS = -4, /* the block ends inside a run of literals */
    CORE_E_MATCH = -5,    /* the block ends inside a match */
    CORE_E_SENTINEL = -6, /* a control word has no sentinel bit */
    CORE_E_DISTANCE = -7, /* the match at `at` reaches `distance` bytes back */
    CORE_E_PAST_END = -8, /* the match at `at` runs past the end of the block */
};

/* Where in the raw data an error lies, in bytes. May be NULL. */
typedef struct {
    size_t at;
    size_t distance;
} core_fault;

int64_t core_quicklz_decode(const uint8_t *block, size_t block_size, uint8_t *raw, size_t raw_capacity,
                            core_fault *fault);
int64_t core_fastlz_decode(const uint8_t *block, size_t block_size, uint8_t *raw, size_t raw_capacity,
                           core_fault *fault);

/* Room that the encoders ask for: the block at its longest, and what a copy may write past its end. */
size_t core_quicklz_bound(size_t raw_size);
size_t core_fastlz_bound(size_t raw_size);
int64_t core_quicklz_encode(const uint8_t *raw, size_t raw_size, uint8_t *block, size_t block_capacity);
int64_t core_fastlz_encode(const uint8_t *raw, size_t raw_size, uint8_t *block, size_t block_capacity);

/* Decode the blocks at the front of a framed body, each behind its length, up to the first that is not whole,
 * not right, longer than `block_limit` or does not fit. `used` is what they take in the body. This never fails. */
int64_t core_quicklz_decode_front(const uint8_t *body, size_t body_size, size_t block_limit,
                                  uint8_t *raw, size_t raw_capacity, size_t *used);
int64_t core_fastlz_decode_front(const uint8_t *body, size_t body_size, size_t block_limit,
                                 uint8_t *raw, size_t raw_capacity, size_t *used);

/* Encode pieces of `piece_size` raw bytes, each behind the length of its block. */
int64_t core_quicklz_encode_framed(const uint8_t *raw, size_t raw_size, size_t piece_size, uint8_t *body,
                                   size_t body_capacity);
int64_t core_fastlz_encode_framed(const uint8_t *raw, size_t raw_size, size_t piece_size, uint8_t *body,
                                  size_t body_capacity);

uint32_t core_fnv1a32(const uint8_t *data, size_t size, uint32_t value);

#endif
