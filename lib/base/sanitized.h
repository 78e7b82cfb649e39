/* Is this program instrumented? A sanitizer needs deeper stacks, and for its reports it reads any file, starts a symbolizer and
 * stops our threads from outside: what measures or confines a process makes way for it. */
#ifndef MYELIN_BASE_SANITIZED_H
#define MYELIN_BASE_SANITIZED_H

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SANITIZED_ADDRESS 1
#else
#define SANITIZED_ADDRESS 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SANITIZED_THREAD 1
#else
#define SANITIZED_THREAD 0
#endif
#define SANITIZED (SANITIZED_ADDRESS || SANITIZED_THREAD)

#endif
