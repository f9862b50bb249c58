#include "core.h"

#include <stdbool.h>
#include <string.h>

/* Bytes an unrolled copy may write past what was asked for. */
#define COPY_SLACK 32

/* Both formats are little-endian where they have words. Compilers turn these into one load or store each. */
static inline uint32_t load32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t load64(const uint8_t *p) { return load32(p) | (uint64_t)load32(p + 4) << 32; }

static inline void store32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
    p[2] = (uint8_t)(value >> 16);
    p[3] = (uint8_t)(value >> 24);
}

static int64_t fail(core_fault *fault, size_t at, size_t distance, int error)
{
    if (fault) {
        fault->at = at;
        fault->distance = distance;
    }
    return error;
}

/* Repeat `length` bytes from `distance` back at `out`, of which `room` bytes may be written. */
static inline void copy_match(uint8_t *out, size_t distance, size_t length, size_t room)
{
    const uint8_t *from = out - distance;

    if (room < length + COPY_SLACK) {
        for (size_t i = 0; i < length; i++)
            out[i] = from[i];
        return;
    }
    if (distance < 8) {
        /* Once the pattern fills a word it is stored again and again, in steps that keep its phase. Reading it
         * back each time would wait for the store before. */
        uint64_t pattern;
        size_t step = 8 - 8 % distance;
        for (size_t i = 0; i < 8; i++)
            out[i] = from[i];
        memcpy(&pattern, out, 8);
        for (size_t i = step; i < length; i += step)
            memcpy(out + i, &pattern, 8);
        return;
    }
    memcpy(out, from, 8);
    memcpy(out + 8, from + 8, 8);
    for (size_t i = 16; i < length; i += 8)
        memcpy(out + i, from + i, 8);
}

/* ---- QuickLZ level 3 (rbl-format 2.2) ---- */

enum {
    QLZ_COMPRESSED = 0x01,
    QLZ_LONG_HEADER = 0x02,
    QLZ_LEVEL_3 = 0x4C, /* bit 6 always, level 3 in bits 2 and 3, no streaming buffer in bits 4 and 5 */
    QLZ_FIXED_BITS = 0xFC,
    QLZ_SHORT_HEADER_SIZE = 3,
    QLZ_LONG_HEADER_SIZE = 9,
    QLZ_SHORT_RAW_LIMIT = 216,
    QLZ_ITEMS = 31, /* of a group, behind its control word */
    QLZ_CONTROL_SIZE = 4,
    QLZ_GROUP_SIZE = QLZ_CONTROL_SIZE + QLZ_ITEMS * 4, /* at the longest */
    QLZ_MIN_DATA_SIZE = 9,
    QLZ_END_LITERALS = 4, /* no match covers them */
    QLZ_END_NO_START = 11, /* from here on there are literals only */
    QLZ_MIN_DISTANCE = 3,
    QLZ_MAX_DISTANCE = 0x1FFFF,
    QLZ_MAX_MATCH = 258,
    /* What decoding one group can read, copies of 32 literals included. */
    QLZ_READ_AHEAD = QLZ_GROUP_SIZE + COPY_SLACK,
};
#define QLZ_SENTINEL 0x80000000u

/* How a match is written: as the low `size` bytes of a word that holds its form, length and distance. */
typedef struct {
    uint32_t mask; /* of those bytes */
    uint8_t size, distance_shift, length_shift, length_mask, length_base;
} quicklz_form;

/* By the two low bits; the fifth is the one whose seven low bits are 3. */
static const quicklz_form QUICKLZ_FORMS[] = {
    {0xFF, 1, 2, 0, 0, 3},       {0xFFFF, 2, 2, 0, 0, 3},        {0xFFFF, 2, 6, 2, 15, 3},
    {0xFFFFFF, 3, 7, 2, 31, 2}, {0xFFFFFFFF, 4, 15, 7, 255, 3},
};

static inline size_t minimum(size_t a, size_t b) { return a < b ? a : b; }

/* Finish with literals, of which the current group holds `items`; at most one control word lies ahead. */
static int64_t quicklz_tail(const uint8_t *data, size_t size, size_t position, size_t items, uint8_t *raw,
                            size_t done, size_t raw_size, core_fault *fault)
{
    size_t count = minimum(items, raw_size - done);
    for (int pass = 0; pass < 2; pass++) {
        size_t have = position < size ? minimum(count, size - position) : 0;
        memcpy(raw + done, data + (have ? position : 0), have);
        done += have;
        if (have < count)
            return fail(fault, done, 0, CORE_E_ENDS);
        position += count + QLZ_CONTROL_SIZE;
        count = raw_size - done;
    }
    return (int64_t)raw_size;
}

static int64_t quicklz_data(const uint8_t *data, size_t size, uint8_t *raw, size_t raw_size, size_t capacity,
                            core_fault *fault)
{
    uint8_t last[2 * QLZ_READ_AHEAD]; /* the end of the data and zeros behind it */
    const uint8_t *in = data;         /* data, or `last` shifted to where its bytes come from */
    size_t position = 0, origin = 0, done = 0;
    bool near_end = false;

    while (done < raw_size) {
        if (position > size || size - position < QLZ_CONTROL_SIZE)
            return fail(fault, done, 0, CORE_E_ENDS);
        if (!near_end && size - position < QLZ_READ_AHEAD) {
            memset(last, 0, sizeof last);
            memcpy(last, data + position, size - position);
            in = last;
            origin = position;
            near_end = true;
        }
        const uint8_t *p = in + (position - origin);
        uint32_t control = load32(p);
        p += QLZ_CONTROL_SIZE;
        if (control < QLZ_SENTINEL)
            return fail(fault, done, 0, CORE_E_SENTINEL);
        while (control != 1) {
            if (!(control & 1)) {
                size_t run = (size_t)__builtin_ctz(control);
                if (done + run + QLZ_END_NO_START > raw_size) {
                    size_t items = 31 - (size_t)__builtin_clz(control);
                    return quicklz_tail(data, size, origin + (size_t)(p - in), items, raw, done, raw_size, fault);
                }
                if (capacity - done >= COPY_SLACK)
                    memcpy(raw + done, p, COPY_SLACK);
                else
                    memcpy(raw + done, p, run);
                done += run;
                p += run;
                control >>= run;
                continue;
            }
            control >>= 1;
            uint32_t word = load32(p);
            const quicklz_form *form = &QUICKLZ_FORMS[(word & 3) + ((word & 127) == 3)];
            size_t distance = (word & form->mask) >> form->distance_shift;
            size_t length = (word >> form->length_shift & form->length_mask) + form->length_base;
            p += form->size;
            if (distance < QLZ_MIN_DISTANCE || distance > done)
                return fail(fault, done, distance, CORE_E_DISTANCE);
            if (done + length + QLZ_END_LITERALS > raw_size)
                return fail(fault, done, 0, CORE_E_PAST_END);
            copy_match(raw + done, distance, length, capacity - done);
            done += length;
        }
        position = origin + (size_t)(p - in);
    }
    return (int64_t)raw_size;
}

int64_t core_quicklz_decode(const uint8_t *block, size_t block_size, uint8_t *raw, size_t raw_capacity,
                            core_fault *fault)
{
    size_t header_size, stated_size, raw_size;

    if (block_size < QLZ_SHORT_HEADER_SIZE || (block[0] & QLZ_FIXED_BITS) != QLZ_LEVEL_3)
        return CORE_E_HEADER;
    if (block[0] & QLZ_LONG_HEADER) {
        if (block_size < QLZ_LONG_HEADER_SIZE)
            return CORE_E_HEADER;
        header_size = QLZ_LONG_HEADER_SIZE;
        stated_size = load32(block + 1);
        raw_size = load32(block + 5);
    } else {
        header_size = QLZ_SHORT_HEADER_SIZE;
        stated_size = block[1];
        raw_size = block[2];
    }
    if (stated_size > block_size)
        return CORE_E_HEADER;
    if (raw_size > raw_capacity)
        return CORE_E_CAPACITY;
    /* The Python twin takes a stated size below the header's for no data at all. */
    size_t size = stated_size > header_size ? stated_size - header_size : 0;
    if (block[0] & QLZ_COMPRESSED)
        return quicklz_data(block + header_size, size, raw, raw_size, raw_capacity, fault);
    if (size != raw_size)
        return CORE_E_HEADER;
    memcpy(raw, block + header_size, size);
    return (int64_t)size;
}

/* ---- FastLZ levels 1 and 2 (rbl-format 2.3) ---- */

enum {
    FLZ_LEVEL_SHIFT = 5,
    FLZ_LOW_BITS = 0x1F,
    FLZ_MAX_RUN = 32,
    FLZ_MATCH_BASE = 3,
    FLZ_LONG_LENGTH = 6,
    FLZ_MAX_MATCH = FLZ_LONG_LENGTH + 255 + FLZ_MATCH_BASE,
    FLZ_MAX_DISTANCE = 1 << 13,
    FLZ_FAR_OFFSET = 0x1F00,
    FLZ_FAR_DISTANCE = 8191,
    FLZ_END_LITERALS = 2,
};

int64_t core_fastlz_decode(const uint8_t *block, size_t block_size, uint8_t *raw, size_t raw_capacity,
                           core_fault *fault)
{
    if (!block_size || block[0] >> FLZ_LEVEL_SHIFT > 1)
        return CORE_E_HEADER;

    const bool level_2 = block[0] >> FLZ_LEVEL_SHIFT == 1;
    const uint8_t *p = block + 1, *end = block + block_size;
    uint32_t control = block[0] & FLZ_LOW_BITS;
    size_t done = 0;

    for (;;) {
        if (control == FLZ_MAX_RUN - 1 && end - p > FLZ_MAX_RUN && raw_capacity - done >= FLZ_MAX_RUN) {
            /* Data that does not compress is a chain of these. With a constant length the next one need not wait
             * until this one's control byte is read. */
            memcpy(raw + done, p, FLZ_MAX_RUN);
            done += FLZ_MAX_RUN;
            control = p[FLZ_MAX_RUN];
            p += FLZ_MAX_RUN + 1;
            continue;
        }
        if (control < FLZ_MAX_RUN) {
            size_t run = control + 1;
            if ((size_t)(end - p) < run)
                return fail(fault, done, 0, CORE_E_LITERALS);
            if (raw_capacity - done < run)
                return fail(fault, done, 0, CORE_E_CAPACITY);
            if (end - p >= FLZ_MAX_RUN && raw_capacity - done >= FLZ_MAX_RUN)
                memcpy(raw + done, p, FLZ_MAX_RUN);
            else
                memcpy(raw + done, p, run);
            p += run;
            done += run;
        } else {
            size_t length = (control >> FLZ_LEVEL_SHIFT) - 1;
            size_t distance = (size_t)(control & FLZ_LOW_BITS) << 8;
            if (length == FLZ_LONG_LENGTH) {
                uint32_t more;
                do {
                    if (p == end)
                        return fail(fault, done, 0, CORE_E_MATCH);
                    more = *p++;
                    length += more;
                } while (level_2 && more == 255);
            }
            if (p == end)
                return fail(fault, done, 0, CORE_E_MATCH);
            uint32_t low = *p++;
            if (level_2 && low == 255 && distance == FLZ_FAR_OFFSET) {
                if (end - p < 2)
                    return fail(fault, done, 0, CORE_E_MATCH);
                distance = ((size_t)p[0] << 8 | p[1]) + FLZ_FAR_DISTANCE + 1;
                p += 2;
            } else {
                distance += low + 1;
            }
            length += FLZ_MATCH_BASE;
            if (distance > done)
                return fail(fault, done, distance, CORE_E_DISTANCE);
            if (length > raw_capacity - done)
                return fail(fault, done, 0, CORE_E_CAPACITY);
            copy_match(raw + done, distance, length, raw_capacity - done);
            done += length;
        }
        if (p == end)
            return (int64_t)done;
        control = *p++;
    }
}

/* ---- Matches, for both encoders ----
 *
 * A table keeps positions by the hash of the three bytes there. An empty place names position 0, a candidate as
 * good as any other, so that nothing has to be told apart; the search therefore begins at position 1.
 */

enum {
    MIN_MATCH = 3,
    SKIP_SHIFT = 6, /* after each 64 literals in a row the search takes longer steps */
};
#define MAX_RAW_SIZE (UINT32_MAX - QLZ_LONG_HEADER_SIZE)

static inline uint32_t key_at(const uint8_t *p) { return load32(p) & 0xFFFFFF; }

static inline uint32_t hash(uint32_t key, int bits) { return key * 0x9E3779B1u >> (32 - bits); }

/* How many of the first `limit` bytes are equal. */
static inline size_t common(const uint8_t *a, const uint8_t *b, size_t limit)
{
    size_t length = 0;
    for (; length + 8 <= limit; length += 8) {
        uint64_t differing = load64(a + length) ^ load64(b + length);
        if (differing)
            return length + (size_t)(__builtin_ctzll(differing) >> 3);
    }
    while (length < limit && a[length] == b[length])
        length++;
    return length;
}

/* ---- QuickLZ encoder ---- */

enum {
    QLZ_HASH_BITS = 11,
    QLZ_WAYS = 4, /* candidates kept for one hash, nearest first */
};

typedef struct {
    uint32_t at[QLZ_WAYS];
} quicklz_bucket;

typedef struct {
    size_t length; /* 0 for none */
    size_t distance;
} match;

/* Put `position` in front and return what was there before. */
static inline quicklz_bucket quicklz_link(quicklz_bucket *table, const uint8_t *raw, size_t position)
{
    quicklz_bucket *bucket = &table[hash(key_at(raw + position), QLZ_HASH_BITS)];
    quicklz_bucket before = *bucket;
    bucket->at[3] = before.at[2];
    bucket->at[2] = before.at[1];
    bucket->at[1] = before.at[0];
    bucket->at[0] = (uint32_t)position;
    return before;
}

static inline size_t quicklz_token_size(size_t distance, size_t length)
{
    if (length == 3 && distance < 1 << 6)
        return 1;
    if ((length == 3 && distance < 1 << 14) || (length <= 18 && distance < 1 << 10))
        return 2;
    return length <= 33 ? 3 : 4;
}

/* The match that saves most; of equal ones the longer. */
static inline match quicklz_best(const uint8_t *raw, size_t position, size_t limit, quicklz_bucket candidates)
{
    const uint8_t *here = raw + position;
    const uint32_t key = key_at(here);
    size_t length = MIN_MATCH - 1, best_gain = 0;
    match best = {0, 0};
    bool any = false;

    for (int i = 0; i < QLZ_WAYS; i++)
        any |= key_at(raw + candidates.at[i]) == key;
    if (!any)
        return best;
    for (int i = 0; i < QLZ_WAYS; i++) {
        const uint8_t *there = raw + candidates.at[i];
        size_t distance = position - candidates.at[i];
        if (there[length] != here[length] || distance < QLZ_MIN_DISTANCE || distance > QLZ_MAX_DISTANCE)
            continue;
        size_t equal = common(there, here, limit);
        if (equal <= length)
            continue;
        length = equal;
        size_t gain = equal - quicklz_token_size(distance, equal);
        if (gain >= best_gain) {
            best_gain = gain;
            best.length = equal;
            best.distance = distance;
        }
        if (equal == limit)
            break;
    }
    return best;
}

static inline uint8_t *quicklz_put_match(uint8_t *p, match m)
{
    uint32_t distance = (uint32_t)m.distance, length = (uint32_t)m.length;
    size_t size = quicklz_token_size(m.distance, m.length);

    if (size == 1)
        store32(p, distance << 2);
    else if (size == 2 && length == 3 && distance < 1 << 14)
        store32(p, distance << 2 | 1);
    else if (size == 2)
        store32(p, distance << 6 | (length - 3) << 2 | 2);
    else if (size == 3)
        store32(p, distance << 7 | (length - 2) << 2 | 3);
    else
        store32(p, distance << 15 | (length - 3) << 7 | 3);
    return p + size;
}

size_t core_quicklz_bound(size_t raw_size) { return raw_size + QLZ_LONG_HEADER_SIZE + QLZ_CONTROL_SIZE + 4; }

int64_t core_quicklz_encode(const uint8_t *raw, size_t raw_size, uint8_t *block, size_t block_capacity)
{
    if (raw_size > MAX_RAW_SIZE || block_capacity < core_quicklz_bound(raw_size))
        return CORE_E_CAPACITY;

    const bool is_short = raw_size < QLZ_SHORT_RAW_LIMIT;
    const size_t header_size = is_short ? QLZ_SHORT_HEADER_SIZE : QLZ_LONG_HEADER_SIZE;
    const size_t starts_before = raw_size > QLZ_END_NO_START ? raw_size - QLZ_END_NO_START : 0;
    uint8_t *data = block + header_size, *p = data, *control_at = p;
    uint32_t control = 0;
    size_t position = 0, search_at = 1, literals_from = 0;
    int items = 0;
    bool compressed = raw_size > QLZ_MIN_DATA_SIZE;
    quicklz_bucket table[1 << QLZ_HASH_BITS];

    memset(table, 0, sizeof table);
    while (compressed && position < raw_size) {
        match m = {0, 0};
        if (items == 0) {
            control_at = p;
            p += QLZ_CONTROL_SIZE;
        }
        if (position == search_at && position < starts_before) {
            quicklz_bucket candidates = quicklz_link(table, raw, position);
            m = quicklz_best(raw, position, minimum(raw_size - QLZ_END_LITERALS - position, QLZ_MAX_MATCH),
                             candidates);
            search_at += 1 + ((position - literals_from) >> SKIP_SHIFT);
        }
        if (m.length) {
            p = quicklz_put_match(p, m);
            control |= 1u << items;
            quicklz_link(table, raw, position + 1);
            quicklz_link(table, raw, position + 2);
            position += m.length;
            search_at = literals_from = position;
        } else {
            *p++ = raw[position++];
        }
        if (++items == QLZ_ITEMS || position == raw_size) {
            store32(control_at, control | QLZ_SENTINEL);
            control = 0;
            items = 0;
        }
        compressed = (size_t)(p - data) < raw_size;
    }
    if (!compressed) {
        /* Literals only are longer than the raw data and overflow buffers of bootloaders (rbl-format 3.4a). */
        memcpy(data, raw, raw_size);
        p = data + raw_size;
    } else if (p - data < QLZ_MIN_DATA_SIZE) {
        memset(p, 0, (size_t)(data + QLZ_MIN_DATA_SIZE - p));
        p = data + QLZ_MIN_DATA_SIZE;
    }
    uint8_t flags = QLZ_LEVEL_3 | (compressed ? QLZ_COMPRESSED : 0);
    size_t block_size = (size_t)(p - block);
    if (is_short) {
        block[0] = flags;
        block[1] = (uint8_t)block_size;
        block[2] = (uint8_t)raw_size;
    } else {
        block[0] = flags | QLZ_LONG_HEADER;
        store32(block + 1, (uint32_t)block_size);
        store32(block + 5, (uint32_t)raw_size);
    }
    return (int64_t)block_size;
}

/* ---- FastLZ encoder ---- */

enum {
    FLZ_HASH_BITS = 13,
    FLZ_END_NO_START = 5, /* a match starts so far before the end that the positions it links can be read */
};

/* `readable` bytes can be read at `from`, `count` of them are wanted; the room is what core_fastlz_bound says. */
static inline uint8_t *fastlz_put_literals(uint8_t *p, const uint8_t *from, size_t count, size_t readable)
{
    while (count > FLZ_MAX_RUN) {
        *p++ = FLZ_MAX_RUN - 1;
        memcpy(p, from, FLZ_MAX_RUN);
        p += FLZ_MAX_RUN;
        from += FLZ_MAX_RUN;
        count -= FLZ_MAX_RUN;
        readable -= FLZ_MAX_RUN;
    }
    if (count) {
        *p++ = (uint8_t)(count - 1);
        memcpy(p, from, readable >= FLZ_MAX_RUN ? FLZ_MAX_RUN : count);
        p += count;
    }
    return p;
}

size_t core_fastlz_bound(size_t raw_size)
{
    return raw_size + (raw_size + FLZ_MAX_RUN - 1) / FLZ_MAX_RUN + FLZ_MAX_RUN;
}

int64_t core_fastlz_encode(const uint8_t *raw, size_t raw_size, uint8_t *block, size_t block_capacity)
{
    if (!raw_size || raw_size > MAX_RAW_SIZE || block_capacity < core_fastlz_bound(raw_size))
        return CORE_E_CAPACITY;

    const size_t starts_before = raw_size > FLZ_END_NO_START ? raw_size - FLZ_END_NO_START : 0;
    const size_t match_end = raw_size - minimum(raw_size, FLZ_END_LITERALS);
    uint8_t *p = block;
    size_t position = 1, literals_from = 0;
    uint32_t table[1 << FLZ_HASH_BITS];

    memset(table, 0, sizeof table);
    while (position < starts_before) {
        uint32_t key = key_at(raw + position);
        uint32_t *place = &table[hash(key, FLZ_HASH_BITS)];
        size_t candidate = *place, distance = position - candidate;
        *place = (uint32_t)position;
        if (key_at(raw + candidate) != key || distance > FLZ_MAX_DISTANCE) {
            position += 1 + ((position - literals_from) >> SKIP_SHIFT);
            continue;
        }
        size_t length = common(raw + candidate, raw + position, minimum(match_end - position, FLZ_MAX_MATCH));
        uint32_t offset = (uint32_t)distance - 1, code = (uint32_t)length - FLZ_MATCH_BASE;
        p = fastlz_put_literals(p, raw + literals_from, position - literals_from, raw_size - literals_from);
        if (code < FLZ_LONG_LENGTH) {
            *p++ = (uint8_t)((code + 1) << FLZ_LEVEL_SHIFT | offset >> 8);
        } else {
            *p++ = (uint8_t)((FLZ_LONG_LENGTH + 1) << FLZ_LEVEL_SHIFT | offset >> 8);
            *p++ = (uint8_t)(code - FLZ_LONG_LENGTH);
        }
        *p++ = (uint8_t)offset;
        table[hash(key_at(raw + position + 1), FLZ_HASH_BITS)] = (uint32_t)position + 1;
        table[hash(key_at(raw + position + 2), FLZ_HASH_BITS)] = (uint32_t)position + 2;
        position += length;
        literals_from = position;
    }
    p = fastlz_put_literals(p, raw + literals_from, raw_size - literals_from, raw_size - literals_from);
    return p - block;
}

/* ---- Framed bodies (rbl-format 2.1) ---- */

enum { FRAME_PREFIX_SIZE = 4 }; /* the length of the block behind it, big-endian */

typedef int64_t (*encoder)(const uint8_t *, size_t, uint8_t *, size_t);
typedef int64_t (*decoder)(const uint8_t *, size_t, uint8_t *, size_t, core_fault *);

static int64_t decode_front(decoder decode, const uint8_t *body, size_t body_size, size_t block_limit,
                            uint8_t *raw, size_t raw_capacity, size_t *used)
{
    size_t position = 0, done = 0;

    while (body_size - position > FRAME_PREFIX_SIZE) {
        const uint8_t *prefix = body + position;
        size_t length = (size_t)prefix[0] << 24 | (size_t)prefix[1] << 16 | (size_t)prefix[2] << 8 | prefix[3];
        if (!length || length > block_limit || length > body_size - position - FRAME_PREFIX_SIZE)
            break;
        int64_t size = decode(prefix + FRAME_PREFIX_SIZE, length, raw + done, raw_capacity - done, NULL);
        if (size < 0)
            break;
        done += (size_t)size;
        position += FRAME_PREFIX_SIZE + length;
    }
    *used = position;
    return (int64_t)done;
}

int64_t core_quicklz_decode_front(const uint8_t *body, size_t body_size, size_t block_limit,
                                  uint8_t *raw, size_t raw_capacity, size_t *used)
{
    return decode_front(core_quicklz_decode, body, body_size, block_limit, raw, raw_capacity, used);
}

int64_t core_fastlz_decode_front(const uint8_t *body, size_t body_size, size_t block_limit,
                                 uint8_t *raw, size_t raw_capacity, size_t *used)
{
    return decode_front(core_fastlz_decode, body, body_size, block_limit, raw, raw_capacity, used);
}

static int64_t encode_framed(encoder encode, const uint8_t *raw, size_t raw_size, size_t piece_size,
                             uint8_t *body, size_t body_capacity)
{
    size_t done = 0;

    if (!piece_size)
        return CORE_E_CAPACITY;
    for (size_t position = 0; position < raw_size; position += minimum(piece_size, raw_size - position)) {
        uint8_t *prefix = body + done;
        if (body_capacity - done < FRAME_PREFIX_SIZE)
            return CORE_E_CAPACITY;
        done += FRAME_PREFIX_SIZE;
        int64_t size = encode(raw + position, minimum(piece_size, raw_size - position), body + done,
                              body_capacity - done);
        if (size < 0)
            return size;
        prefix[0] = (uint8_t)(size >> 24);
        prefix[1] = (uint8_t)(size >> 16);
        prefix[2] = (uint8_t)(size >> 8);
        prefix[3] = (uint8_t)size;
        done += (size_t)size;
    }
    return (int64_t)done;
}

int64_t core_quicklz_encode_framed(const uint8_t *raw, size_t raw_size, size_t piece_size, uint8_t *body,
                                   size_t body_capacity)
{
    return encode_framed(core_quicklz_encode, raw, raw_size, piece_size, body, body_capacity);
}

int64_t core_fastlz_encode_framed(const uint8_t *raw, size_t raw_size, size_t piece_size, uint8_t *body,
                                  size_t body_capacity)
{
    return encode_framed(core_fastlz_encode, raw, raw_size, piece_size, body, body_capacity);
}

/* ---- FNV-1a (rbl-format 1) ---- */

uint32_t core_fnv1a32(const uint8_t *data, size_t size, uint32_t value)
{
    for (size_t i = 0; i < size; i++)
        value = (value ^ data[i]) * 0x01000193u;
    return value;
}
