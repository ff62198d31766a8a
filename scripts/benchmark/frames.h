/* What the floor and the load generator share: WebSocket frames (RFC 6455, section 5.2), sockets. */
#ifndef FRAMES_H
#define FRAMES_H

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

struct frame {
    int opcode;
    unsigned char *payload; /* unmasked in place */
    size_t length, whole;   /* of the payload; of the frame with its header */
};

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* Fills `frame` and returns 1 when `data` starts with a whole frame, else returns 0. */
static int parse_frame(unsigned char *data, size_t have, struct frame *frame) {
    if (have < 2) return 0;
    size_t header = 2, length = data[1] & 0x7f;
    if (length == 127) {
        fprintf(stderr, "a frame of 64 KiB or more is not what this program is for\n");
        exit(1);
    }
    if (length == 126) {
        if (have < 4) return 0;
        length = (size_t)data[2] << 8 | data[3];
        header = 4;
    }
    int masked = data[1] >> 7;
    size_t whole = header + (masked ? 4 : 0) + length;
    if (have < whole) return 0;
    frame->opcode = data[0] & 0x0f;
    frame->payload = data + whole - length;
    frame->length = length;
    frame->whole = whole;
    if (masked)
        for (size_t i = 0; i < length; i++) frame->payload[i] ^= data[header + (i & 3)];
    return 1;
}

/* Writes a frame to `out`, which must hold length + 8 bytes, and returns its size. */
static size_t build_frame(unsigned char *out, int opcode, const void *payload, size_t length,
                          int masked) {
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t at = 0;
    out[at++] = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        out[at++] = (unsigned char)((masked << 7) | (int)length);
    } else {
        out[at++] = (unsigned char)((masked << 7) | 126);
        out[at++] = (unsigned char)(length >> 8);
        out[at++] = (unsigned char)length;
    }
    if (masked) {
        memcpy(out + at, key, 4);
        at += 4;
    }
    for (size_t i = 0; i < length; i++)
        out[at + i] = ((const unsigned char *)payload)[i] ^ (masked ? key[i & 3] : 0);
    return at + length;
}

/* Whether the payload has the text in it. */
static int has(const struct frame *frame, const char *text) {
    return memmem(frame->payload, frame->length, text, strlen(text)) != NULL;
}

static void make_ready(int fd) {
    int one = 1;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) die("fcntl");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void watch(int epoll, int operation, int fd, uint32_t events, void *tag) {
    struct epoll_event event = {.events = events, .data.ptr = tag};
    if (epoll_ctl(epoll, operation, fd, &event) < 0) die("epoll_ctl");
}

#endif
