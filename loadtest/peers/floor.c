/* The floor of a fan-out: what one connection writes is sent to every connection, and nothing else is done.
 * No handshake, no parsing, no bookkeeping: a loop of send().
 *
 * Run: floor PORT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 32768, CHUNK = 1 << 16, EVENTS = 64 };

static int members[MOST];
static int count;

/* A full socket blocks the loop: nobody here is slow, and a floor that drops would be none. */
static void send_all(int fd, const char *data, ssize_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, data, (size_t)size, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR)
                continue;
            return;
        }
        data += sent;
        size -= sent;
    }
}

static void leave(int fd) {
    for (int i = 0; i < count; i++)
        if (members[i] == fd) {
            members[i] = members[--count];
            break;
        }
    close(fd);
}

int main(int argc, char **argv) {
    static char chunk[CHUNK];
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    if (argc != 2)
        return 2;
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    int listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("floor");
        return 1;
    }
    event.data.fd = listener;
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int one = accept(listener, NULL, NULL);
                if (one < 0)
                    continue;
                if (count == MOST) {
                    close(one);
                    continue;
                }
                setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                members[count++] = one;
                send_all(one, "\x81\x00", 2); /* an empty frame: from here on it receives */
                event.data.fd = one;
                epoll_ctl(poll, EPOLL_CTL_ADD, one, &event);
                continue;
            }
            ssize_t size = recv(fd, chunk, sizeof chunk, 0);
            if (size <= 0) {
                leave(fd);
                continue;
            }
            for (int member = 0; member < count; member++)
                send_all(members[member], chunk, size);
        }
    }
}
