/* /etc/hosts, asked before DNS when discovery_hosts_file says so. Any thread. */
#ifndef MYELIN_DISCOVERY_HOSTS_FILE_H
#define MYELIN_DISCOVERY_HOSTS_FILE_H

#include "lib/base/arena.h"

struct hosts_file;

struct hosts_file *hosts_file_create(const char *path);
void hosts_file_destroy(struct hosts_file **file);
/* Numeric addresses of the name, IPv6 before IPv4, none twice, in the arena. The file is read again when it changed. */
struct slices hosts_file_find(struct hosts_file *file, struct arena *arena, struct slice name);

#endif
