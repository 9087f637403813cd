/* See trace.h. */
#include "trace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>

#include "recorded.h"

enum { IN_BYTES = 1 << 16, OUT_BYTES = 1 << 17 };

struct trace {
    recorded *recording; /* NULL: lines of text, and then the rest counts */
    FILE *file;
    ZSTD_DStream *stream; /* NULL: not compressed */
    unsigned char in[IN_BYTES];
    ZSTD_inBuffer input;
    char out[OUT_BYTES];
    size_t out_size;
    size_t out_at;
    bool mid_frame;
    uint64_t line;
    char message[TRACE_WHY_BYTES];
};

static bool is_recording(const trace *self) {
    static const char magic[] = "FIRNTRAC";
    return self->input.size >= sizeof magic - 1 && memcmp(self->in, magic, sizeof magic - 1) == 0;
}

trace *trace_open(const char *path, char *why) {
    trace *self = calloc(1, sizeof *self);
    bool piped = strcmp(path, "-") == 0;
    FILE *file = self == NULL ? NULL : piped ? stdin : fopen(path, "rb");
    if (file == NULL) {
        snprintf(why, TRACE_WHY_BYTES, "%s: %s", path, strerror(errno));
        free(self);
        return NULL;
    }
    self->file = file;
    self->input = (ZSTD_inBuffer){self->in, fread(self->in, 1, IN_BYTES, file), 0};
    if (ferror(file)) {
        snprintf(why, TRACE_WHY_BYTES, "%s: %s", path, strerror(errno));
        trace_close(self);
        return NULL;
    }
    if (is_recording(self)) {
        if (piped) {
            snprintf(why, TRACE_WHY_BYTES, "a recording is read from a file, not from a pipe");
        } else {
            self->recording = recorded_load(path, why);
        }
        if (self->recording == NULL) {
            trace_close(self);
            return NULL;
        }
        return self;
    }
    static const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (self->input.size >= 4 && memcmp(self->in, magic, 4) == 0) {
        self->stream = ZSTD_createDStream();
        if (self->stream == NULL) {
            snprintf(why, TRACE_WHY_BYTES, "no memory");
            trace_close(self);
            return NULL;
        }
    }
    return self;
}

void trace_close(trace *self) {
    if (self != NULL) {
        recorded_free(self->recording);
        ZSTD_freeDStream(self->stream);
        if (self->file != stdin) {
            fclose(self->file);
        }
        free(self);
    }
}

const char *trace_message(const trace *self) {
    return self->message;
}

static int fail(trace *self, const char *what) {
    snprintf(self->message, sizeof self->message, "line %llu: %s",
             (unsigned long long)self->line + 1, what);
    return -1;
}

static int refill_input(trace *self) {
    self->input.size = fread(self->in, 1, IN_BYTES, self->file);
    self->input.pos = 0;
    return ferror(self->file) ? fail(self, strerror(errno)) : 0;
}

/* Brings more text. 1: there is some. 0: the end. -1: an error. */
static int refill(trace *self) {
    self->out_at = 0;
    self->out_size = 0;
    while (self->out_size == 0) {
        if (self->input.pos == self->input.size) {
            if (refill_input(self) != 0) {
                return -1;
            }
            if (self->input.size == 0) {
                return self->mid_frame ? fail(self, "the compressed data ends early") : 0;
            }
        }
        if (self->stream == NULL) {
            self->out_size = self->input.size - self->input.pos;
            memcpy(self->out, self->in + self->input.pos, self->out_size);
            self->input.pos = self->input.size;
            return 1;
        }
        ZSTD_outBuffer output = {self->out, OUT_BYTES, 0};
        size_t left = ZSTD_decompressStream(self->stream, &output, &self->input);
        if (ZSTD_isError(left)) {
            return fail(self, ZSTD_getErrorName(left));
        }
        self->mid_frame = left != 0;
        self->out_size = output.pos;
    }
    return 1;
}

/* The next character, -1 at the end, -2 after an error. */
static int get(trace *self) {
    if (self->out_at == self->out_size) {
        int result = refill(self);
        if (result != 1) {
            return result - 1;
        }
    }
    return (unsigned char)self->out[self->out_at++];
}

/* Digits into *number; returns the character after them. */
static int read_number(trace *self, int c, uint64_t *number, bool *good) {
    *number = 0;
    *good = c >= '0' && c <= '9';
    for (; c >= '0' && c <= '9'; c = get(self)) {
        uint64_t digit = (uint64_t)(c - '0');
        if (*number > (UINT64_MAX - digit) / 10) {
            *good = false;
        }
        *number = *number * 10 + digit;
    }
    return c;
}

trace_facts trace_get_facts(const trace *self) {
    return self->recording != NULL ? recorded_facts(self->recording) : (trace_facts){.rate = 1};
}

int trace_next(trace *self, trace_request *next) {
    if (self->recording != NULL) {
        return recorded_next(self->recording, next);
    }
    int c = get(self);
    while (c == '\n' || c == '\r') {
        self->line += c == '\n';
        c = get(self);
    }
    if (c < 0) {
        return c == -1 ? 0 : -1;
    }
    bool good;
    *next = (trace_request){.what = TRACE_GET};
    c = read_number(self, c, &next->key, &good);
    if (good && c == ',') {
        c = read_number(self, get(self), &next->size, &good);
        next->charge = next->size;
    }
    if (c == '\r') {
        c = get(self);
    }
    if (c == -2) {
        return -1;
    }
    if (!good || (c != '\n' && c != -1)) {
        return fail(self, "not 'key' or 'key,size' with unsigned numbers");
    }
    self->line++;
    return 1;
}
