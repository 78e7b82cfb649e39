/* The data folder: made at first start, locked while in use, handed to its account. Contents:
 *   config.yaml  signing.key  tls/server.crt  tls/server.key  lock  postgres/  postgres.log  run/ (sockets) */
#ifndef MYELIN_SUPERVISOR_FOLDER_H
#define MYELIN_SUPERVISOR_FOLDER_H

#include "lib/base/arena.h"
#include "lib/kit/settings.h"
#include "supervisor/account.h"

struct folder {
    const char *real;  /* absolute */
    const char *path;  /* the same folder by a name short enough for socket paths (107 bytes) */
    const char *alias; /* temporary folder that holds the short name; NULL when real is short */
    int lock;
};

/* As root: makes it and gives it to the account. Call before account_become. */
void folder_prepare(struct arena *arena, const char *given, const struct account *account, struct folder *out);
/* As the account: locks it (dies when another supervisor has it), makes run/ and removes sockets of a crashed one. */
void folder_claim(struct arena *arena, struct folder *folder, const struct account *account);
void folder_leave(const struct folder *folder);
/* The tool's side: the running supervisor's socket. NULL when none runs there. */
const char *folder_tool_socket(struct arena *arena, const char *given);

/* First start: config.yaml, signing.key, those of tls where they are missing and no setting names another file. */
void folder_write_config(struct arena *arena, const struct folder *folder, const struct settings *settings, const char *config);
bool folder_has_signing_key(struct arena *arena, const struct folder *folder);
void folder_write_signing_key(struct arena *arena, const struct folder *folder);
void folder_remove_signing_key(struct arena *arena, const struct folder *folder);
/* Whole file or none: written beside and renamed. */
bool folder_write_file(struct arena *arena, const char *path, struct slice text, unsigned mode);

#endif
