/* See output.h. */
#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

/* The length of the UTF-8 sequence at the front, 0 if it is none: no overlong forms, surrogates
 * or numbers above 10FFFF. */
static size_t utf8_length(const unsigned char *bytes, size_t size) {
    unsigned char first = bytes[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;
    if (length == 0 || length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool bad = (first == 0xe0 && bytes[1] < 0xa0) || (first == 0xed && bytes[1] >= 0xa0) ||
               (first == 0xf0 && bytes[1] < 0x90) || (first == 0xf4 && bytes[1] >= 0x90);
    return bad ? 0 : length;
}

bool is_utf8(const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size > 0) {
        size_t length = utf8_length(from, size);
        if (length == 0) {
            return false;
        }
        from += length;
        size -= length;
    }
    return true;
}

static unsigned code_point(const unsigned char *bytes, size_t length) {
    unsigned point = length == 1 ? bytes[0] : bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        point = point << 6 | (bytes[i] & 0x3fu);
    }
    return point;
}

/* C0, DEL and C1 move cursors and worse; line and paragraph separators and the marks of writing
 * direction change how the rest of the line looks. */
static bool is_control(unsigned point) {
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e ||
           point == 0x200f || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069);
}

void print_escaped(FILE *out, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    while (size > 0) {
        size_t length = utf8_length(from, size);
        static const char plain[] = "\n\t\r\\";
        static const char letters[] = "ntr\\";
        const char *found = *from != 0 ? strchr(plain, *from) : NULL;
        if (found != NULL) {
            fprintf(out, "\\%c", letters[found - plain]);
            length = 1;
        } else if (length == 0 || is_control(code_point(from, length))) {
            fprintf(out, "\\x%02x", *from);
            length = 1;
        } else {
            fwrite(from, 1, length, out);
        }
        from += length;
        size -= length;
    }
}

/* The bytes must be UTF-8. All control characters are below U+10000: one escape each. */
static void json_string(FILE *out, const unsigned char *bytes, size_t size) {
    putc('"', out);
    while (size > 0) {
        size_t length = utf8_length(bytes, size);
        unsigned point = code_point(bytes, length);
        if (point == '"' || point == '\\') {
            fprintf(out, "\\%c", bytes[0]);
        } else if (is_control(point)) {
            fprintf(out, "\\u%04x", point);
        } else {
            fwrite(bytes, 1, length, out);
        }
        bytes += length;
        size -= length;
    }
    putc('"', out);
}

void json_text(FILE *out, const char *text) {
    if (is_utf8(text, strlen(text))) {
        json_string(out, (const unsigned char *)text, strlen(text));
    } else {
        fputs("null", out);
    }
}

static void base64(FILE *out, const unsigned char *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        unsigned word = (unsigned)bytes[i] << 16;
        word |= i + 1 < size ? (unsigned)bytes[i + 1] << 8 : 0;
        word |= i + 2 < size ? bytes[i + 2] : 0;
        putc(digits[word >> 18], out);
        putc(digits[word >> 12 & 63], out);
        putc(i + 1 < size ? digits[word >> 6 & 63] : '=', out);
        putc(i + 2 < size ? digits[word & 63] : '=', out);
    }
}

void json_bytes(FILE *out, const char *name, const void *bytes, size_t size) {
    if (is_utf8(bytes, size)) {
        fprintf(out, "\"%s\": ", name);
        json_string(out, bytes, size);
    } else {
        fprintf(out, "\"%s_base64\": \"", name);
        base64(out, bytes, size);
        putc('"', out);
    }
}

const char *humane(uint64_t bytes, char *buffer) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double number = (double)bytes;
    unsigned unit = 0;
    while (number >= 1024 && unit < 6) {
        number /= 1024;
        unit++;
    }
    snprintf(buffer, 32, unit == 0 ? "%.0f %s" : "%.1f %s", number, units[unit]);
    return buffer;
}

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void progress_begin(progress *self, bool quiet) {
    self->on = !quiet && isatty(STDERR_FILENO);
    self->last_ns = 0;
}

bool progress_is_due(progress *self) {
    if (!self->on || now_ns() - self->last_ns < 100000000u) {
        return false;
    }
    self->last_ns = now_ns();
    return true;
}

void progress_show(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fflush(stderr);
}

void progress_end(progress *self) {
    if (self->on) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}

bool output_is_whole(const char *name) {
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return true;
    }
    if (errno != EPIPE) {
        complain(name, "cannot write to the standard output: %s", strerror(errno));
    }
    return false;
}
