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

/* These print what stands at the front, and return how many bytes that is. */

static size_t escaped_unit(FILE *out, const unsigned char *from, size_t size) {
    static const char plain[] = "\n\t\r\\";
    static const char letters[] = "ntr\\";
    size_t length = utf8_length(from, size);
    const char *found = *from != 0 ? strchr(plain, *from) : NULL;
    if (found != NULL) {
        fprintf(out, "\\%c", letters[found - plain]);
        return 1;
    }
    if (length == 0 || is_control(code_point(from, length))) {
        fprintf(out, "\\x%02x", *from);
        return 1;
    }
    fwrite(from, 1, length, out);
    return length;
}

/* The bytes must be UTF-8. All control characters are below U+10000: one escape each. */
static size_t json_unit(FILE *out, const unsigned char *from, size_t size) {
    size_t length = utf8_length(from, size);
    unsigned point = code_point(from, length);
    if (point == '"' || point == '\\') {
        fprintf(out, "\\%c", from[0]);
    } else if (is_control(point)) {
        fprintf(out, "\\u%04x", point);
    } else {
        fwrite(from, 1, length, out);
    }
    return length;
}

static size_t xml_unit(FILE *out, const unsigned char *from, size_t size) {
    size_t length = utf8_length(from, size);
    if (length == 0 || is_control(code_point(from, length))) {
        fputs("&#xfffd;", out);
        return 1;
    }
    if (strchr("&<>\"", *from) != NULL) {
        fprintf(out, "&#%d;", *from);
    } else {
        fwrite(from, 1, length, out);
    }
    return length;
}

static size_t base64_unit(FILE *out, const unsigned char *from, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned word = (unsigned)from[0] << 16;
    word |= size > 1 ? (unsigned)from[1] << 8 : 0;
    word |= size > 2 ? from[2] : 0;
    putc(digits[word >> 18], out);
    putc(digits[word >> 12 & 63], out);
    putc(size > 1 ? digits[word >> 6 & 63] : '=', out);
    putc(size > 2 ? digits[word & 63] : '=', out);
    return size < 3 ? size : 3;
}

static size_t unit(flow *self, const unsigned char *from, size_t size) {
    size_t length;
    switch (self->how) {
    case FLOW_ESCAPED:
        return escaped_unit(self->out, from, size);
    case FLOW_JSON:
        return json_unit(self->out, from, size);
    case FLOW_BASE64:
        return base64_unit(self->out, from, size);
    case FLOW_XML:
        return xml_unit(self->out, from, size);
    case FLOW_CHECK:
        length = utf8_length(from, size);
        self->bad = self->bad || length == 0;
        return length > 0 ? length : 1;
    default:
        fwrite(from, 1, size, self->out);
        return size;
    }
}

void flow_begin(flow *self, FILE *out, flow_form how) {
    *self = (flow){.out = out, .how = how};
}

/* What stands at the front is known once there are so many bytes. */
enum { UNIT_MAX = 4 };

void flow_add(flow *self, const void *bytes, size_t size) {
    const unsigned char *from = bytes;
    if (self->kept_size > 0) {
        unsigned char joint[2 * UNIT_MAX];
        size_t old = self->kept_size;
        size_t some = size < UNIT_MAX ? size : UNIT_MAX;
        memcpy(joint, self->kept, old);
        memcpy(joint + old, from, some);
        size_t at = 0;
        while (at < old && old + some - at >= UNIT_MAX) {
            at += unit(self, joint + at, old + some - at);
        }
        if (at < old) { /* all there is has come into the joint */
            self->kept_size = old + some - at;
            memcpy(self->kept, joint + at, self->kept_size);
            return;
        }
        self->kept_size = 0;
        from += at - old;
        size -= at - old;
    }
    while (size >= UNIT_MAX) {
        size_t length = unit(self, from, size);
        from += length;
        size -= length;
    }
    if (size > 0) {
        memcpy(self->kept, from, size);
        self->kept_size = size;
    }
}

bool flow_end(flow *self) {
    for (size_t at = 0; at < self->kept_size;) {
        at += unit(self, self->kept + at, self->kept_size - at);
    }
    self->kept_size = 0;
    return !self->bad;
}

static bool flow_all(FILE *out, flow_form how, const void *bytes, size_t size) {
    flow one;
    flow_begin(&one, out, how);
    flow_add(&one, bytes, size);
    return flow_end(&one);
}

void print_escaped(FILE *out, const void *bytes, size_t size) {
    flow_all(out, FLOW_ESCAPED, bytes, size);
}

void json_text(FILE *out, const char *text) {
    if (flow_all(NULL, FLOW_CHECK, text, strlen(text))) {
        putc('"', out);
        flow_all(out, FLOW_JSON, text, strlen(text));
        putc('"', out);
    } else {
        fputs("null", out);
    }
}

void xml_text(FILE *out, const char *text) {
    flow_all(out, FLOW_XML, text, strlen(text));
}

flow_form json_name(FILE *out, const char *name, bool utf8) {
    fprintf(out, "\"%s%s\": ", name, utf8 ? "" : "_base64");
    return utf8 ? FLOW_JSON : FLOW_BASE64;
}

void json_bytes(FILE *out, const char *name, const void *bytes, size_t size) {
    flow_form how = json_name(out, name, flow_all(NULL, FLOW_CHECK, bytes, size));
    putc('"', out);
    flow_all(out, how, bytes, size);
    putc('"', out);
}

const char *time_text(uint64_t ms, char *buffer) {
    time_t seconds = (time_t)(ms / 1000);
    struct tm when;
    char text[32];
    if (gmtime_r(&seconds, &when) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &when) == 0) {
        snprintf(buffer, 40, "?");
    } else {
        snprintf(buffer, 40, "%s.%03u UTC", text, (unsigned)(ms % 1000));
    }
    return buffer;
}

uint64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
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
