/* The text format of Prometheus, from what firn_get_stats and firn_get_latencies gave. Knows the
 * format, and nothing of the cache. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <firn/metrics.h>

enum {
    FIRST_BITS = 7, /* the lowest bucket that is told: below 2^7 ns */
    LAST_BITS = 35, /* half a minute */
    NS_PER_SECOND = 1000000000,
};

typedef struct text {
    int (*write)(void *context, const char *text, size_t size);
    void *context;
    int result; /* what it gave last */
    const char *store;
} text;

static void add_bytes(text *self, const char *bytes, size_t size) {
    if (self->result == 0 && size > 0) {
        self->result = self->write(self->context, bytes, size);
    }
}

static void __attribute__((format(printf, 2, 3))) add(text *self, const char *format, ...) {
    char line[512]; /* all names and words are ours, and shorter */
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    add_bytes(self, line, size < (int)sizeof line ? (size_t)size : sizeof line - 1);
}

/* Of a label's value. */
static void add_escaped(text *self, const char *value) {
    for (const char *at = value; *at != '\0';) {
        size_t plain = strcspn(at, "\\\"\n");
        add_bytes(self, at, plain);
        at += plain;
        if (*at != '\0') {
            add_bytes(self, *at == '\n' ? "\\n" : *at == '"' ? "\\\"" : "\\\\", 2);
            at++;
        }
    }
}

/* The labels of a line: the store, and what else there is, as text that needs no escape. */
static void add_labels(text *self, const char *others) {
    if (self->store == NULL && *others == '\0') {
        return;
    }
    add(self, "{");
    if (self->store != NULL) {
        add(self, "store=\"");
        add_escaped(self, self->store);
        add(self, *others != '\0' ? "\"," : "\"");
    }
    add(self, "%s}", others);
}

static void add_head(text *self, const char *name, const char *type, const char *help) {
    add(self, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Nanoseconds in seconds, exactly. */
static void add_seconds(text *self, uint64_t ns) {
    add(self, "%" PRIu64 ".%09" PRIu64, ns / NS_PER_SECOND, ns % NS_PER_SECOND);
}

static void add_field(text *self, const firn_stats *stats, unsigned index) {
    uint64_t value;
    const char *field = firn_stats_field(stats, index, &value);
    bool is_counter = firn_stats_is_counter(index) != 0;
    size_t size = strlen(field);
    bool in_ns = size > 3 && strcmp(field + size - 3, "_ns") == 0;
    char name[128];
    snprintf(name, sizeof name, "firn_%.*s%s%s", (int)(in_ns ? size - 3 : size), field,
             in_ns ? "_seconds" : "", is_counter ? "_total" : "");
    add_head(self, name, is_counter ? "counter" : "gauge", firn_stats_help(index));
    add(self, "%s", name);
    add_labels(self, "");
    add(self, " ");
    if (in_ns) {
        add_seconds(self, value);
    } else {
        add(self, "%" PRIu64, value);
    }
    add(self, "\n");
}

static void add_sample(text *self, const char *suffix, unsigned kind, const char *le) {
    char labels[128];
    snprintf(labels, sizeof labels, "operation=\"%s\"%s%s%s", firn_latency_name(kind),
             *le != '\0' ? ",le=\"" : "", le, *le != '\0' ? "\"" : "");
    add(self, "firn_operation_seconds%s", suffix);
    add_labels(self, labels);
    add(self, " ");
}

static void add_histogram(text *self, unsigned kind, const firn_latency *latency) {
    uint64_t below = 0;
    unsigned bucket = 0;
    for (unsigned bits = FIRST_BITS; bits <= LAST_BITS; bits++) {
        uint64_t longest = (UINT64_C(1) << bits) - 1;
        while (firn_latency_bucket_ns(bucket) <= longest) {
            below += latency->counts[bucket++];
        }
        char le[32];
        snprintf(le, sizeof le, "%" PRIu64 ".%09" PRIu64, longest / NS_PER_SECOND,
                 longest % NS_PER_SECOND);
        add_sample(self, "_bucket", kind, le);
        add(self, "%" PRIu64 "\n", below);
    }
    uint64_t count = firn_latency_count(latency);
    add_sample(self, "_bucket", kind, "+Inf");
    add(self, "%" PRIu64 "\n", count);
    add_sample(self, "_sum", kind, "");
    add_seconds(self, latency->sum_ns);
    add(self, "\n");
    add_sample(self, "_count", kind, "");
    add(self, "%" PRIu64 "\n", count);
}

static void add_latencies(text *self, const firn_latencies *latencies) {
    size_t head = offsetof(firn_latencies, of);
    size_t count = (latencies->size - head) / sizeof latencies->of[0];
    add_head(self, "firn_operation_seconds", "histogram",
             "How long operations took, of those that were timed.");
    for (unsigned kind = 0; kind < FIRN_LATENCY_COUNT && kind < count; kind++) {
        add_histogram(self, kind, &latencies->of[kind]);
    }
    add_head(self, "firn_operation_sampled_every", "gauge",
             "One of so many operations is timed, at the most.");
    for (unsigned kind = 0; kind < FIRN_LATENCY_COUNT && kind < count; kind++) {
        char labels[64];
        snprintf(labels, sizeof labels, "operation=\"%s\"", firn_latency_name(kind));
        add(self, "firn_operation_sampled_every");
        add_labels(self, labels);
        add(self, " %u\n", firn_latency_every(kind));
    }
}

int firn_write_metrics(const firn_stats *stats, const firn_latencies *latencies, const char *store,
                       int (*write)(void *context, const char *text, size_t size), void *context) {
    if (stats == NULL || write == NULL || stats->size < sizeof *stats ||
        (latencies != NULL && latencies->size < offsetof(firn_latencies, of))) {
        return FIRN_EINVAL;
    }
    text self = {.write = write, .context = context, .store = store};
    for (unsigned i = 0; firn_stats_field(NULL, i, NULL) != NULL; i++) {
        add_field(&self, stats, i);
    }
    if (latencies != NULL) {
        add_latencies(&self, latencies);
    }
    return self.result;
}
