/* See tool.h. */
#include "tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/error.h>

__attribute__((format(printf, 2, 0))) static void say(const char *name, const char *format,
                                                      va_list arguments) {
    fprintf(stderr, "firn %s: ", name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

void complain(const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(name, format, arguments);
    va_end(arguments);
}

int misuse(const char *name, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(name, format, arguments);
    va_end(arguments);
    fprintf(stderr, "Try 'firn %s --help'.\n", name);
    return EXIT_USAGE;
}

int exit_code(int result) {
    switch (result) {
    case FIRN_OK:
        return 0;
    case FIRN_ECORRUPT:
        return EXIT_DAMAGED;
    case FIRN_EINVAL:
        return EXIT_USAGE;
    default:
        return EXIT_TROUBLE;
    }
}

bool parse_size(const char *text, uint64_t *bytes) {
    size_t digits = strspn(text, "0123456789");
    const char *rest = text + digits;
    double fraction = 0;
    errno = 0;
    unsigned long long whole = strtoull(text, NULL, 10);
    if (digits == 0 || errno != 0) {
        return false;
    }
    if (*rest == '.') {
        size_t more = strspn(rest + 1, "0123456789");
        double unit = 1;
        for (size_t i = 1; i <= more; i++) {
            unit /= 10;
            fraction += unit * (rest[i] - '0');
        }
        rest += more > 0 ? more + 1 : 0;
    }
    unsigned shift = 0;
    static const char units[] = "KMGT";
    const char *unit = *rest != '\0' ? strchr(units, *rest) : NULL;
    if (unit != NULL) {
        shift = 10 * (unsigned)(unit - units + 1);
        rest++;
    }
    if (*rest != '\0' || whole > (UINT64_MAX >> shift) - 1) {
        return false;
    }
    *bytes = (whole << shift) + (uint64_t)(fraction * (double)(UINT64_C(1) << shift));
    return true;
}

bool parse_number(const char *text, uint64_t max, uint64_t *number) {
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9') {
        return false;
    }
    unsigned long long parsed = strtoull(text, &end, 10);
    *number = parsed;
    return errno == 0 && *end == '\0' && parsed <= max;
}

bool parse_age(const char *text, uint64_t *ms) {
    static const struct {
        const char *name;
        uint64_t ms;
    } units[] = {{"ms", 1},        {"s", 1000},        {"", 1000},
                 {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 10) { /* so that no unit makes it overflow */
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + digits, units[i].name) == 0) {
            *ms = strtoull(text, NULL, 10) * units[i].ms;
            return true;
        }
    }
    return false;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

long unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from != '\\') {
            *to++ = *from;
            continue;
        }
        from++;
        if (*from == 'x' && hex(from[1]) >= 0 && hex(from[2]) >= 0) {
            *to++ = (char)(hex(from[1]) * 16 + hex(from[2]));
            from += 2;
        } else if (*from != '\0' && strchr("ntr\\", *from) != NULL) {
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from == 'r' ? '\r' : '\\';
        } else {
            return -1;
        }
    }
    return to - text;
}
