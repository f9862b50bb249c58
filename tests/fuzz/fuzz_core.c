/* Runs the C core over a corpus and mutations of it, under AddressSanitizer and UBSan.
 *
 *     fuzz_core CORPUS SECONDS SEED
 *
 * The corpus is a row of records: u32le length, bytes. Every input and every output is a heap block of exactly the
 * size that the core is told, so that one byte too far is an error of the sanitizer. What was encoded must decode
 * to the same bytes.
 */
#include "core.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int64_t (*decoder)(const uint8_t *, size_t, uint8_t *, size_t, core_fault *);
typedef int64_t (*encoder)(const uint8_t *, size_t, uint8_t *, size_t);
typedef int64_t (*front_decoder)(const uint8_t *, size_t, size_t, uint8_t *, size_t, size_t *);
typedef int64_t (*framed_encoder)(const uint8_t *, size_t, size_t, uint8_t *, size_t);

typedef struct {
    const char *name;
    decoder decode;
    encoder encode;
    size_t (*bound)(size_t);
    front_decoder decode_front;
    framed_encoder encode_framed;
} codec;

static const codec CODECS[] = {
    {"QuickLZ", core_quicklz_decode, core_quicklz_encode, core_quicklz_bound, core_quicklz_decode_front,
     core_quicklz_encode_framed},
    {"FastLZ", core_fastlz_decode, core_fastlz_encode, core_fastlz_bound, core_fastlz_decode_front,
     core_fastlz_encode_framed},
};
enum { CODEC_COUNT = 2, MAX_RECORDS = 4096, PIECE_SIZE = 4096, BLOCK_LIMIT = 128 * 1024 };

typedef struct {
    uint8_t *bytes;
    size_t size;
} buffer;

static buffer records[MAX_RECORDS];
static size_t record_count;
static uint64_t random_state;
static unsigned long long decoded, refused, encoded;

static uint32_t draw(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return below ? (uint32_t)(random_state >> 32) % below : 0;
}

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "fuzz_core: %s: %s\n", name, what);
    abort();
}

static uint8_t *exact(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size);
    if (!copy && size)
        fail("out of memory", "driver");
    if (bytes && size)
        memcpy(copy, bytes, size);
    return copy;
}

static void decode_one(const codec *c, const uint8_t *bytes, size_t size, size_t capacity)
{
    uint8_t *block = exact(bytes, size), *raw = exact(NULL, capacity);
    core_fault fault;
    int64_t result = c->decode(block, size, raw, capacity, draw(2) ? &fault : NULL);
    if (result > (int64_t)capacity || result < CORE_E_PAST_END)
        fail("a result that cannot be", c->name);
    if (result < 0)
        refused++;
    else
        decoded++;
    free(raw);
    free(block);
}

static void decode_front(const codec *c, const uint8_t *bytes, size_t size, size_t capacity)
{
    uint8_t *body = exact(bytes, size), *raw = exact(NULL, capacity);
    size_t used = 0;
    int64_t result = c->decode_front(body, size, BLOCK_LIMIT, raw, capacity, &used);
    if (result < 0 || result > (int64_t)capacity || used > size)
        fail("a front that cannot be", c->name);
    free(raw);
    free(body);
}

static void round_trip(const codec *c, const uint8_t *bytes, size_t size)
{
    size_t capacity = c->bound(size);
    uint8_t *raw = exact(bytes, size), *block = exact(NULL, capacity), *back = exact(NULL, size);
    int64_t block_size = c->encode(raw, size, block, capacity);
    if (size && block_size <= 0)
        fail("data that was not encoded", c->name);
    if (size) {
        uint8_t *cut = exact(block, (size_t)block_size);
        if (c->decode(cut, (size_t)block_size, back, size, NULL) != (int64_t)size || memcmp(back, raw, size))
            fail("data that did not come back", c->name);
        free(cut);
        encoded++;
    }
    free(block);
    block = exact(NULL, capacity - 1);
    if (c->encode(raw, size, block, capacity - 1) >= 0)
        fail("an output that is too small was taken", c->name);
    free(back);
    free(block);
    free(raw);
}

static void framed_round_trip(const codec *c, const uint8_t *bytes, size_t size)
{
    size_t piece = 1 + draw(PIECE_SIZE), pieces = (size + piece - 1) / piece, used = 0;
    size_t capacity = pieces * (4 + c->bound(piece));
    uint8_t *raw = exact(bytes, size), *body = exact(NULL, capacity), *back = exact(NULL, size);
    int64_t body_size = c->encode_framed(raw, size, piece, body, capacity);
    if (body_size < 0)
        fail("data that was not framed", c->name);
    if (c->decode_front(body, (size_t)body_size, BLOCK_LIMIT, back, size, &used) != (int64_t)size ||
        used != (size_t)body_size || (size && memcmp(back, raw, size)))
        fail("framed data that did not come back", c->name);
    free(body);
    size_t small = draw((uint32_t)capacity + 1);
    body = exact(NULL, small);
    c->encode_framed(raw, size, piece, body, small);
    free(back);
    free(body);
    free(raw);
}

static void every_truncation(const buffer *record)
{
    static const size_t CAPACITIES[] = {0, 1, 40, 216, PIECE_SIZE, 5000};
    uint8_t *copy = exact(record->bytes, record->size);
    size_t step = record->size > 300 ? record->size / 100 : 1;
    for (size_t size = 0; size <= record->size; size += step)
        for (int c = 0; c < CODEC_COUNT; c++) {
            const codec *codec_ = &CODECS[c];
            decode_one(codec_, record->bytes, size, CAPACITIES[draw(6)]);
            decode_one(codec_, record->bytes, size, PIECE_SIZE);
            if (size < 9)
                continue;
            for (int byte = 0; byte < 4; byte++) /* a QuickLZ header that agrees with the cut */
                copy[1 + byte] = (uint8_t)(size >> 8 * byte);
            decode_one(codec_, copy, size, PIECE_SIZE);
            memcpy(copy, record->bytes, 9);
        }
    free(copy);
}

static void one_mutation(void)
{
    const buffer *seed = &records[draw((uint32_t)record_count)];
    const buffer *other = &records[draw((uint32_t)record_count)];
    size_t size = seed->size, extra = draw(4) ? 0 : draw(64);
    uint8_t *bytes = malloc(size + extra + 1);
    if (!bytes)
        fail("out of memory", "driver");
    memcpy(bytes, seed->bytes, size);
    for (size_t i = 0; i < extra; i++)
        bytes[size++] = (uint8_t)draw(256);
    for (uint32_t changes = draw(9); changes && size; changes--)
        bytes[draw(draw(2) && size > 24 ? 24 : (uint32_t)size)] = (uint8_t)(draw(3) ? draw(256) : 255 * draw(2));
    if (!draw(4) && size && other->size) { /* the beginning of one, the end of another */
        size_t at = draw((uint32_t)size), count = size - at < other->size ? size - at : other->size;
        memcpy(bytes + at, other->bytes + other->size - count, count);
    }
    if (!draw(4))
        size = draw((uint32_t)size + 1);
    const codec *c = &CODECS[draw(CODEC_COUNT)];
    decode_one(c, bytes, size, draw(3) ? PIECE_SIZE : draw(2) ? draw(9000) : draw(70000));
    decode_front(c, bytes, size, draw(2) ? 65536 : draw(9000));
    if (!draw(8)) {
        round_trip(c, bytes, size);
        framed_round_trip(c, bytes, size);
    }
    if (core_fnv1a32(bytes, size, 0) != core_fnv1a32(bytes + size / 2, size - size / 2, core_fnv1a32(bytes, size / 2, 0)))
        fail("a hash that depends on how data is cut", "FNV-1a");
    free(bytes);
}

static void read_corpus(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t prefix[4];
    if (!file)
        fail("the corpus cannot be read", "driver");
    while (record_count < MAX_RECORDS && fread(prefix, 1, 4, file) == 4) {
        buffer *record = &records[record_count++];
        record->size = prefix[0] | (size_t)prefix[1] << 8 | (size_t)prefix[2] << 16;
        record->bytes = exact(NULL, record->size);
        if (fread(record->bytes, 1, record->size, file) != record->size)
            fail("the corpus is cut short", "driver");
    }
    fclose(file);
    if (!record_count)
        fail("the corpus is empty", "driver");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: fuzz_core CORPUS SECONDS SEED", "driver");
    read_corpus(argv[1]);
    time_t end = time(NULL) + atoi(argv[2]);
    random_state = strtoull(argv[3], NULL, 0) * 2 + 1;

    for (size_t i = 0; i < record_count; i++) {
        every_truncation(&records[i]);
        for (int c = 0; c < CODEC_COUNT; c++) {
            round_trip(&CODECS[c], records[i].bytes, records[i].size);
            framed_round_trip(&CODECS[c], records[i].bytes, records[i].size);
        }
    }
    unsigned long long mutations = 0;
    do {
        for (int i = 0; i < 200; i++)
            one_mutation();
        mutations += 200;
    } while (time(NULL) < end);
    printf("fuzz_core: %zu records, %llu mutations, %llu blocks decoded, %llu refused, %llu encoded\n", record_count,
           mutations, decoded, refused, encoded);
    for (size_t i = 0; i < record_count; i++)
        free(records[i].bytes);
    return 0;
}
