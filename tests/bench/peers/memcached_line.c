/* See memcached_line.h. */
#include "memcached_line.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 24 };

__thread memcached_line memcached;

static pid_t running; /* for the way out */

void memcached_die(const char *what) {
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

void memcached_attach(const memcached_server *self) {
    memcached.room = (size_t)4 << 20;
    memcached.buffer = malloc(memcached.room);
    memcached.filled = 0;
    memcached.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (memcached.buffer == NULL || memcached.socket < 0) {
        memcached_die("no socket");
    }
    for (unsigned tries = 0; connect(memcached.socket, (const struct sockaddr *)&self->address,
                                     sizeof self->address) != 0;
         tries++) {
        if (tries == 500) {
            memcached_die("does not answer");
        }
        usleep(10000);
    }
}

void memcached_detach(void) {
    close(memcached.socket);
    free(memcached.buffer);
}

static void send_bytes(const char *bytes, size_t size) {
    while (size != 0) {
        ssize_t sent = send(memcached.socket, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0 && errno != EINTR) {
            memcached_die("the connection is lost");
        }
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
}

void memcached_flush(void) {
    send_bytes(memcached.buffer, memcached.filled);
    memcached.filled = 0;
}

void memcached_add(const void *bytes, size_t size) {
    if (memcached.filled + size > memcached.room) {
        memcached_flush();
    }
    if (size > memcached.room) {
        send_bytes(bytes, size);
        return;
    }
    memcpy(memcached.buffer + memcached.filled, bytes, size);
    memcached.filled += size;
}

void memcached_receive(const char *end) {
    size_t end_size = strlen(end);
    while (memcached.filled < end_size ||
           memcmp(memcached.buffer + memcached.filled - end_size, end, end_size) != 0) {
        if (memcached.filled == memcached.room) {
            memcached_die("too long an answer");
        }
        ssize_t got = recv(memcached.socket, memcached.buffer + memcached.filled,
                           memcached.room - memcached.filled, 0);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            memcached_die("the connection is lost");
        }
        memcached.filled += got > 0 ? (size_t)got : 0;
    }
}

const char *memcached_version(void) {
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

memcached_server *memcached_start(const char *folder, unsigned megabytes,
                                  const char *const *extra) {
    memcached_version();
    static unsigned number;
    memcached_server *self = calloc(1, sizeof *self);
    char memory[32];
    if (self == NULL) {
        memcached_die("out of memory");
    }
    self->address.sun_family = AF_UNIX;
    if ((size_t)snprintf(self->address.sun_path, sizeof self->address.sun_path, "%s/m-%ld-%u",
                         folder, (long)getpid(), number++) >= sizeof self->address.sun_path) {
        memcached_die("the folder's name is too long for a socket");
    }
    snprintf(memory, sizeof memory, "%u", megabytes);
    const char *arguments[ARGUMENTS_MAX + 1] = {
        "memcached", "-s", self->address.sun_path, "-m", memory, "-u", "root"};
    unsigned count = 7;
    for (; *extra != NULL; extra++) {
        if (count == ARGUMENTS_MAX) {
            memcached_die("too many arguments");
        }
        arguments[count++] = *extra;
    }
    pid_t parent = getpid();
    self->process = fork();
    if (self->process == 0) {
        /* It must not stay behind, whatever becomes of the driver. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) {
            execvp("memcached", (char *const *)arguments);
        }
        _exit(127);
    }
    running = self->process;
    atexit(stop);
    memcached_attach(self);
    memcached_detach();
    if (waitpid(self->process, NULL, WNOHANG) != 0) {
        running = 0;
        fprintf(stderr, "memcached: cannot be started\n");
        return NULL;
    }
    return self;
}

void memcached_stop(memcached_server *self) {
    stop();
    unlink(self->address.sun_path);
    free(self);
}

unsigned long long memcached_stat(const char *name) {
    char line[64];
    unsigned long long value = 0;
    memcached.filled = 0;
    memcached_add("stats\r\n", 7);
    memcached_flush();
    memcached_receive("END\r\n");
    memcached.buffer[memcached.filled - 1] = '\0';
    snprintf(line, sizeof line, "STAT %s ", name);
    const char *at = strstr(memcached.buffer, line);
    if (at == NULL || sscanf(at + strlen(line), "%llu", &value) != 1) {
        memcached_die("no statistics");
    }
    return value;
}

bool memcached_next_value(char **at, const char **value, size_t *size) {
    if (**at != 'V') {
        return false;
    }
    /* VALUE key flags size */
    char *next = memchr(*at + 6, ' ', 64);
    next = next != NULL ? memchr(next + 1, ' ', 16) : NULL;
    if (next == NULL) {
        memcached_die("an odd answer");
    }
    *size = strtoull(next, &next, 10);
    *value = next + 2;
    *at = next + 2 + *size + 2;
    return true;
}
