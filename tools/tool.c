/* See tool.h. */
#include "tool.h"

#include <errno.h>
#include <math.h>
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
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno != 0 || !(number >= 0) || strpbrk(text, "xXnNiIeE+-") == text) {
        return false;
    }
    static const char units[] = "KMGT";
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        number = ldexp(number, 10 * (int)(unit - units + 1));
        end++;
    }
    if (*end != '\0' || number >= 9223372036854775808.0) {
        return false;
    }
    *bytes = (uint64_t)number;
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
    } units[] = {{"ms", 1},         {"s", 1000},       {"", 1000},
                 {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 12) {
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
