/* Bytes in and out of a socket: as they are or, compiled with WITH_TLS, through OpenSSL. */
#ifndef BYTES_H
#define BYTES_H

#include "frames.h"

#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *secure_context;

struct bytes {
    int fd, secured;
    SSL *tls;
};

/* Prepares a client, which accepts every certificate; with these files a server. */
static void prepare_bytes(const char *certificate, const char *key) {
    secure_context = SSL_CTX_new(certificate ? TLS_server_method() : TLS_client_method());
    if (!secure_context) die("TLS");
    if (certificate && (SSL_CTX_use_certificate_chain_file(secure_context, certificate) != 1 ||
                        SSL_CTX_use_PrivateKey_file(secure_context, key, SSL_FILETYPE_PEM) != 1)) {
        fprintf(stderr, "no TLS with %s and %s\n", certificate, key);
        exit(1);
    }
}

static void begin_bytes(struct bytes *b, int fd, int server) {
    b->fd = fd;
    b->secured = 0;
    b->tls = SSL_new(secure_context);
    if (!b->tls || SSL_set_fd(b->tls, fd) != 1) die("TLS");
    if (server)
        SSL_set_accept_state(b->tls);
    else
        SSL_set_connect_state(b->tls);
}

static ssize_t outcome(struct bytes *b, int got) {
    if (got > 0) return got;
    int why = SSL_get_error(b->tls, got);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    if (why != SSL_ERROR_ZERO_RETURN) errno = ECONNRESET;
    return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

/* Returns 1 once bytes can be written, 0 while the handshake waits for the peer, -1 on failure. */
static int secure(struct bytes *b) {
    if (b->secured) return 1;
    if (outcome(b, SSL_do_handshake(b->tls)) < 1) return errno == EAGAIN ? 0 : -1;
    return b->secured = 1;
}

static ssize_t take_bytes(struct bytes *b, void *data, size_t size) {
    return outcome(b, SSL_read(b->tls, data, (int)size));
}

static ssize_t put_bytes(struct bytes *b, const void *data, size_t size) {
    return outcome(b, SSL_write(b->tls, data, (int)size));
}

/* Whether OpenSSL has read bytes that epoll no longer reports. */
static int more_bytes(struct bytes *b) { return SSL_pending(b->tls) > 0; }

static void end_bytes(struct bytes *b) {
    SSL_free(b->tls);
    close(b->fd);
}

#else

struct bytes {
    int fd;
};

static void prepare_bytes(const char *certificate, const char *key) {
    (void)key;
    if (certificate) fprintf(stderr, "this program was compiled without TLS\n"), exit(2);
}

static void begin_bytes(struct bytes *b, int fd, int server) {
    (void)server;
    b->fd = fd;
}

static int secure(struct bytes *b) {
    (void)b;
    return 1;
}

static ssize_t take_bytes(struct bytes *b, void *data, size_t size) {
    return read(b->fd, data, size);
}

static ssize_t put_bytes(struct bytes *b, const void *data, size_t size) {
    return write(b->fd, data, size);
}

static int more_bytes(struct bytes *b) {
    (void)b;
    return 0;
}

static void end_bytes(struct bytes *b) { close(b->fd); }

#endif
#endif
