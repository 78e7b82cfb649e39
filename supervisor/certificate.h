/* A self-signed certificate for the first start: enough for a laboratory and for a TLS-terminating proxy behind which nobody
 * checks. */
#ifndef MYELIN_SUPERVISOR_CERTIFICATE_H
#define MYELIN_SUPERVISOR_CERTIFICATE_H

#include "lib/base/arena.h"

/* PEM files for the host of server_name, localhost and the loopback addresses; key mode 0600. False: *error says why. */
bool certificate_make(struct arena *arena, struct slice server_name, const char *certificate_file, const char *key_file,
                      const char **error);

#endif
