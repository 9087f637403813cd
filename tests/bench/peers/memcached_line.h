/* A memcached over a unix socket, which is started and ended here, and a line to it. Whatever fails
 * ends the program with a message: there is nothing to measure then. */
#ifndef PEERS_MEMCACHED_LINE_H
#define PEERS_MEMCACHED_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

typedef struct memcached_server {
    pid_t process;
    struct sockaddr_un address;
} memcached_server;

/* One a thread. */
typedef struct memcached_line {
    int socket;
    size_t filled; /* of the buffer: what is to be sent, or what came */
    size_t room;
    char *buffer;
} memcached_line;

extern __thread memcached_line memcached;

void memcached_die(const char *what);

/* "" if there is no memcached. A static string; not from several threads at once. */
const char *memcached_version(void);

/* Starts one with a socket in the folder and that much memory. extra: further arguments of the
 * command, NULL at the end. NULL: it cannot be started, as was said on stderr. */
memcached_server *memcached_start(const char *folder, unsigned megabytes, const char *const *extra);
void memcached_stop(memcached_server *self);

/* The calling thread's line. */
void memcached_attach(const memcached_server *self);
void memcached_detach(void);

/* Appends to what is sent next. */
void memcached_add(const void *bytes, size_t size);

/* Sends what was added. */
void memcached_flush(void);

/* Reads until the answer ends so. What was added must be sent; the buffer holds the answer after.
 */
void memcached_receive(const char *end);

/* A number of "stats", over the calling thread's line. */
unsigned long long memcached_stat(const char *name);

/* The answer to a get, which the buffer holds, value by value: false after the last one. *at: the
 * buffer at first. The value stays where it is until the next call that sends or receives. */
bool memcached_next_value(char **at, const char **value, size_t *size);

#endif
