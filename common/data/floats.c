/*
 * floats.c -- see floats.h.
 */
#include "common/data/floats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FLOAT_BYTES = 4, DIGITS_MIN = 6, DIGITS_MAX = 9, PAD = 64, WRONG = 255 };

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Reads bytes off base64, four letters at a time. */
struct reader {
    struct str text;
    size_t at;
    unsigned char bytes[3];
    unsigned have, next;
    bool ended, wrong;
};

static unsigned char value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned char)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned char)(c - 'a' + 26);
    if (c >= '0' && c <= '9')
        return (unsigned char)(c - '0' + 52);
    return c == '+' ? 62 : c == '/' ? 63 : c == '=' ? PAD : WRONG;
}

/* The next three bytes or, of the last four letters, fewer. False: there are none, or they are
 * wrong: letters of others, padding in the midst, bits behind the last byte. */
static bool read_group(struct reader *r)
{
    unsigned char v[4];
    unsigned pads = 0;
    if (r->at == r->text.len || r->ended)
        return false;
    r->wrong = r->text.len - r->at < 4;
    for (unsigned i = 0; i < 4 && !r->wrong; i++) {
        v[i] = value_of(r->text.data[r->at + i]);
        pads += v[i] == PAD;
        r->wrong = v[i] == WRONG || (pads && (v[i] != PAD || i < 2));
        v[i] &= 63;
    }
    if (r->wrong)
        return false;
    r->bytes[0] = (unsigned char)(v[0] << 2 | v[1] >> 4);
    r->bytes[1] = (unsigned char)(v[1] << 4 | v[2] >> 2);
    r->bytes[2] = (unsigned char)(v[2] << 6 | v[3]);
    r->have = 3 - pads;
    r->next = 0;
    r->ended = pads > 0;
    r->at += 4;
    r->wrong = (pads && r->bytes[r->have]) || (r->ended && r->at < r->text.len);
    return !r->wrong;
}

/* False: the text is over, or wrong. */
static bool read_float(struct reader *r, float *ret)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < FLOAT_BYTES; i++) {
        if (r->next == r->have && !read_group(r)) {
            r->wrong |= i > 0; /* a piece of a number */
            return false;
        }
        bits |= (uint32_t)r->bytes[r->next++] << (8 * i);
    }
    memcpy(ret, &bits, sizeof(*ret));
    return true;
}

size_t floats_count(struct str text)
{
    struct reader r = {.text = text};
    size_t count = 0;
    float number;
    for (; read_float(&r, &number); count++)
        if (!isfinite(number))
            return 0;
    return r.wrong ? 0 : count;
}

static void write_float(float number, struct json_writer *w)
{
    char text[32];
    for (int digits = DIGITS_MIN; digits <= DIGITS_MAX; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)number);
        if (strtof(text, NULL) == number)
            break;
    }
    json_real(w, strtod(text, NULL));
}

void floats_json(struct str text, struct json_writer *w)
{
    struct reader r = {.text = text};
    float number;
    json_open(w, '[');
    while (read_float(&r, &number))
        write_float(number, w);
    json_close(w, ']');
}

/* ---- writing ---- */

size_t floats_text_len(size_t count)
{
    return (count * FLOAT_BYTES + 2) / 3 * 4;
}

static unsigned char byte_of(const float *numbers, size_t at)
{
    uint32_t bits;
    memcpy(&bits, &numbers[at / FLOAT_BYTES], sizeof(bits));
    return (unsigned char)(bits >> (8 * (at % FLOAT_BYTES)));
}

struct str floats_text(const float *numbers, size_t count, struct arena *arena)
{
    size_t len = floats_text_len(count), bytes = count * FLOAT_BYTES;
    char *text = arena_alloc(arena, len + 1), *at = text;
    for (size_t i = 0; i < bytes; i += 3) {
        unsigned a = byte_of(numbers, i);
        unsigned b = i + 1 < bytes ? byte_of(numbers, i + 1) : 0;
        unsigned c = i + 2 < bytes ? byte_of(numbers, i + 2) : 0;
        *at++ = letters[a >> 2];
        *at++ = letters[(a & 3) << 4 | b >> 4];
        *at++ = i + 1 < bytes ? letters[(b & 15) << 2 | c >> 6] : '=';
        *at++ = i + 2 < bytes ? letters[c & 63] : '=';
    }
    *at = '\0';
    return str_from(text, len);
}
