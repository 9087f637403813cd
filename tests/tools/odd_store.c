/* Makes a store with entries that are awkward to print, for test_program.sh: control characters,
 * bytes that are no text, an empty value, an entry that has expired for whoever looks at the store:
 * the cache's clock is behind the system's, so that it lives as long as the cache does, however
 * slow the machine is. With a second argument it waits with the store open, after everything was
 * flushed, until its input ends. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <firn/firn.h>

typedef struct entry {
    const char *key;
    size_t key_size;
    const char *value;
    size_t value_size;
    uint64_t ttl_ms;
} entry;

/* The program is to find entries younger than an hour. */
enum { BEHIND_MS = 30 * 60000, SHORT_MS = 15 * 60000 };

#define BYTES(text) text, sizeof(text) - 1

static const entry entries[] = {
    {BYTES("plain"), BYTES("simple text"), 0},
    {BYTES("caf\xc3\xa9"), BYTES("\xe2\x82\xac 5"), 0},
    {BYTES("tab\there"), BYTES("line one\nline two\r\n"), 0},
    {BYTES("\x1b[31mred"), BYTES("\x1b]0;title\x07 \x7f \xc2\x9b"), 0},
    {BYTES("back\\slash\"quote"), BYTES("\\x41 is not A"), 0},
    {BYTES("bytes\x00\xff\x01"), BYTES("\xff\xfe\x00\x80"), 0},
    {BYTES("turned\xe2\x80\xae"), BYTES("\xe2\x80\xaexyz"), 0},
    {BYTES("empty"), BYTES(""), 0},
    {BYTES("short-lived"), BYTES("gone"), SHORT_MS},
};

static uint64_t now_ms(void *context) {
    (void)context;
    return (uint64_t)time(NULL) * 1000 - BEHIND_MS;
}

static int put_all(firn_cache *cache) {
    static char large[5000];
    memset(large, 'a', sizeof large);
    int result = firn_put(cache, "large", 5, large, sizeof large, NULL);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0] && result == FIRN_OK; i++) {
        const entry *one = &entries[i];
        firn_put_options options = FIRN_PUT_OPTIONS_INIT;
        options.ttl_ms = one->ttl_ms;
        result = firn_put(cache, one->key, one->key_size, one->value, one->value_size, &options);
    }
    return result;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        return 2;
    }
    char why[256] = "";
    firn_options options = FIRN_OPTIONS_INIT;
    options.write_mode = FIRN_WRITE_THROUGH; /* so that the short-lived one gets to the disk */
    options.clock.now_ms = now_ms;
    options.error_buffer = why;
    options.error_buffer_size = sizeof why;
    firn_cache *cache;
    if (firn_open(&cache, argv[1], &options) != FIRN_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    int result = put_all(cache);
    if (result == FIRN_OK) {
        result = firn_flush(cache);
    }
    if (argc > 2) {
        puts("ready");
        fflush(stdout);
        char byte;
        while (read(STDIN_FILENO, &byte, 1) > 0) {
        }
    }
    int closed = firn_close(cache);
    return result == FIRN_OK && closed == FIRN_OK ? 0 : 1;
}
