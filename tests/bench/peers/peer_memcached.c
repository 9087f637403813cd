/* memcached over a unix socket, which is started and ended here. Text protocol; keys are 16 hex
 * digits, since it takes no binary ones. A get waits for its answer; only filling is streamed. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"

typedef struct server {
    pid_t process;
    struct sockaddr_un address;
} server;

/* One a thread. */
static __thread struct {
    int socket;
    size_t filled;
    size_t room;
    char *buffer;
} line;

static pid_t running; /* for the way out */

static void die(const char *what) {
    fprintf(stderr, "memcached: %s\n", what);
    exit(1);
}

static void stop(void) {
    if (running > 0) {
        kill(running, SIGTERM);
        waitpid(running, NULL, 0);
        running = 0;
    }
}

static void connect_line(const server *self) {
    line.room = (size_t)4 << 20;
    line.buffer = malloc(line.room);
    line.filled = 0;
    line.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line.buffer == NULL || line.socket < 0) {
        die("no socket");
    }
    for (unsigned tries = 0;
         connect(line.socket, (const struct sockaddr *)&self->address, sizeof self->address) != 0;
         tries++) {
        if (tries == 500) {
            die("does not answer");
        }
        usleep(10000);
    }
}

static void attach(void *self) {
    connect_line(self);
}

static void detach(void *self) {
    (void)self;
    close(line.socket);
    free(line.buffer);
}

static void send_bytes(const char *bytes, size_t size) {
    while (size != 0) {
        ssize_t sent = send(line.socket, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0 && errno != EINTR) {
            die("the connection is lost");
        }
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
}

static void flush_line(void) {
    send_bytes(line.buffer, line.filled);
    line.filled = 0;
}

/* Appends to what is sent next. */
static void add(const void *bytes, size_t size) {
    if (line.filled + size > line.room) {
        flush_line();
    }
    if (size > line.room) {
        send_bytes(bytes, size);
        return;
    }
    memcpy(line.buffer + line.filled, bytes, size);
    line.filled += size;
}

/* Reads until the answer ends so. The buffer must be sent and empty; it holds the answer after. */
static void receive(const char *end) {
    size_t end_size = strlen(end);
    while (line.filled < end_size ||
           memcmp(line.buffer + line.filled - end_size, end, end_size) != 0) {
        if (line.filled == line.room) {
            die("too long an answer");
        }
        ssize_t got = recv(line.socket, line.buffer + line.filled, line.room - line.filled, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            die("the connection is lost");
        }
        line.filled += got > 0 ? (size_t)got : 0;
    }
}

static const char *version(void) {
    static char text[64];
    FILE *pipe = text[0] == '\0' ? popen("memcached -V 2>/dev/null", "r") : NULL;
    if (pipe != NULL) {
        if (fscanf(pipe, "memcached %60s", text) != 1) {
            strcpy(text, "?");
        }
        pclose(pipe);
    }
    return text;
}

static void *open_server(const peer_config *config) {
    version();
    static unsigned number;
    server *self = calloc(1, sizeof *self);
    char megabytes[32];
    if (self == NULL) {
        die("out of memory");
    }
    self->address.sun_family = AF_UNIX;
    if ((size_t)snprintf(self->address.sun_path, sizeof self->address.sun_path, "%s/m-%ld-%u",
                         config->folder, (long)getpid(),
                         number++) >= sizeof self->address.sun_path) {
        die("the folder's name is too long for a socket");
    }
    snprintf(megabytes, sizeof megabytes, "%llu",
             (unsigned long long)((config->capacity + (1 << 20) - 1) >> 20));
    pid_t parent = getpid();
    self->process = fork();
    if (self->process == 0) {
        /* It must not stay behind, whatever becomes of the driver. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            execlp("memcached", "memcached", "-s", self->address.sun_path, "-m", megabytes, "-u",
                   "root", (char *)NULL);
        }
        _exit(127);
    }
    running = self->process;
    atexit(stop);
    connect_line(self);
    detach(self);
    if (waitpid(self->process, NULL, WNOHANG) != 0) {
        running = 0;
        fprintf(stderr, "memcached: cannot be started\n");
        return NULL;
    }
    return self;
}

static void close_server(void *context) {
    server *self = context;
    stop();
    unlink(self->address.sun_path);
    free(self);
}

static size_t get_many(void *self, const uint64_t *keys, size_t count, uint64_t *sum) {
    (void)self;
    char text[32];
    line.filled = 0;
    add("get", 3);
    for (size_t i = 0; i < count; i++) {
        add(text, (size_t)snprintf(text, sizeof text, " %016llx", (unsigned long long)keys[i]));
    }
    add("\r\n", 2);
    flush_line();
    receive("END\r\n");
    size_t found = 0;
    for (char *at = line.buffer; *at == 'V';) {
        /* VALUE key flags size */
        at = memchr(at + 6, ' ', 64);
        at = at != NULL ? memchr(at + 1, ' ', 16) : NULL;
        if (at == NULL) {
            die("an odd answer");
        }
        size_t size = strtoull(at, &at, 10);
        *sum += touch(at + 2, size);
        at += 2 + size + 2;
        found++;
    }
    return found;
}

static bool get(void *self, uint64_t key, uint64_t *sum) {
    return get_many(self, &key, 1, sum) == 1;
}

static void put(void *self, uint64_t key, const void *value, size_t size, put_hint hint) {
    (void)self;
    char text[64];
    bool streamed = hint == PUT_STREAM || hint == PUT_BULK;
    const char *no_reply = streamed ? " noreply" : "";
    if (!streamed) {
        line.filled = 0;
    }
    add(text, (size_t)snprintf(text, sizeof text, "set %016llx 0 0 %zu%s\r\n",
                               (unsigned long long)key, size, no_reply));
    add(value, size);
    add("\r\n", 2);
    if (!streamed) {
        flush_line();
        receive("\r\n"); /* STORED, or an error: a cache may decline */
    }
}

static void settle(void *self) {
    (void)self;
    add("version\r\n", 9);
    flush_line();
    receive("\r\n");
    line.filled = 0;
}

static uint64_t entries(void *self) {
    unsigned long long count = 0;
    attach(self);
    add("stats\r\n", 7);
    flush_line();
    receive("END\r\n");
    line.buffer[line.filled - 1] = '\0';
    const char *at = strstr(line.buffer, "STAT curr_items ");
    if (at == NULL || sscanf(at, "STAT curr_items %llu", &count) != 1) {
        die("no statistics");
    }
    detach(self);
    return count;
}

static int process(void *context) {
    return (int)((server *)context)->process;
}

const peer this_peer = {
    .can = PEER_ALL,
    .slow = 32,
    .version = version,
    .open = open_server,
    .close = close_server,
    .attach = attach,
    .detach = detach,
    .get = get,
    .get_many = get_many,
    .put = put,
    .settle = settle,
    .entries = entries,
    .process = process,
};
