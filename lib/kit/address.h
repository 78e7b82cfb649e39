/* Which addresses are not on the public Internet: the list behind the SSRF guard (http_client.h has address_is_private for text).
 */
#ifndef MYELIN_KIT_ADDRESS_H
#define MYELIN_KIT_ADDRESS_H

#include "lib/base/slice.h"

#include <sys/socket.h>

bool address_socket_is_private(const struct sockaddr *address); /* families other than IP are */
bool address_is_numeric(struct slice text);                     /* IPv4 or IPv6 without brackets and zone */

#endif
