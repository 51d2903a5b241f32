/*
 * floats.c -- see floats.h.
 */
#include "common/data/floats.h"

#include <math.h>

enum { FLOAT_BYTES = 4, PAD = 64, WRONG = 255 };

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* clang-format off */
static const unsigned char values[128] = {
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,  62, 255, 255, 255,  63,
     52,  53,  54,  55,  56,  57,  58,  59,  60,  61, 255, 255, 255,  64, 255, 255,
    255,   0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,  14,
     15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25, 255, 255, 255, 255, 255,
    255,  26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
     41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51, 255, 255, 255, 255, 255,
};
/* clang-format on */

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
    unsigned char letter = (unsigned char)c;
    return letter < 128 ? values[letter] : WRONG;
}

/* The last four letters may have padding, and then no bits behind the last byte. */
static bool read_last(struct reader *r, const unsigned char v[4])
{
    unsigned pads = v[2] == PAD ? 2 : 1;
    bool right = v[0] < PAD && v[1] < PAD && v[2] <= PAD && v[3] == PAD;
    if (!right || r->at + 4 != r->text.len)
        return false;
    r->bytes[0] = (unsigned char)(v[0] << 2 | v[1] >> 4);
    r->bytes[1] = (unsigned char)(v[1] << 4 | (v[2] & 63) >> 2);
    r->have = 3 - pads;
    r->ended = true;
    return pads == 2 ? !(v[1] & 15) : !(v[2] & 3);
}

/* The next three bytes, or fewer of the last four letters. False: there are none, or they are
 * wrong. */
static bool read_group(struct reader *r)
{
    if (r->at == r->text.len || r->ended || r->wrong)
        return false;
    r->wrong = r->text.len - r->at < 4;
    if (r->wrong)
        return false;
    const char *at = r->text.data + r->at;
    const unsigned char v[4] = {value_of(at[0]), value_of(at[1]), value_of(at[2]), value_of(at[3])};
    r->next = 0;
    if ((v[0] | v[1] | v[2] | v[3]) < PAD) {
        r->bytes[0] = (unsigned char)(v[0] << 2 | v[1] >> 4);
        r->bytes[1] = (unsigned char)(v[1] << 4 | v[2] >> 2);
        r->bytes[2] = (unsigned char)(v[2] << 6 | v[3]);
        r->have = 3;
    } else {
        r->wrong = !read_last(r, v);
    }
    r->at += 4;
    return !r->wrong;
}

/* False: the text is over, or wrong. */
static inline bool read_float(struct reader *r, float *ret)
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

/* The number with the fewest digits, 6 to 9, that becomes this float when it is rounded to one. All
 * powers of ten up to 10^22 are exact, and so are whole numbers of nine digits. What is very small
 * or very large stays as it is, and is written with more digits. */
static double shortest(float number)
{
    static const double tens[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double whole = (double)number, size = fabs(whole);
    if (size < 1e-12 || size >= 1e9)
        return whole;
    int magnitude = (int)floor(log10(size));
    for (int digits = 6; digits <= 9; digits++) {
        int places = digits - 1 - magnitude;
        double scale = tens[places < 0 ? -places : places];
        double rounded =
            places < 0 ? nearbyint(whole / scale) * scale : nearbyint(whole * scale) / scale;
        if ((float)rounded == number)
            return rounded;
    }
    return whole;
}

void floats_json(struct str text, struct json_writer *w)
{
    struct reader r = {.text = text};
    float number;
    json_open(w, '[');
    while (read_float(&r, &number))
        json_real(w, shortest(number));
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
