# Warnings for everyone; hardening and link-time optimisation for release; sanitizers by preset.
#
# Two warnings of -Wextra are off. Unused parameters: the functions of our tables (handlers, events, commands) have one signature, and
# many need only half of it. Missing initializers: a designated initializer that names what is not zero is how we write facts.
add_compile_options(-Wall -Wextra -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
                    -Wno-unused-parameter -Wno-missing-field-initializers -fno-strict-aliasing -fno-omit-frame-pointer)
include(CheckCCompilerFlag)
if(MYELIN_WERROR)
    set(CMAKE_COMPILE_WARNING_AS_ERROR ON)
endif()
if(MYELIN_SANITIZE)
    add_compile_options(-fsanitize=${MYELIN_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${MYELIN_SANITIZE})
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
    add_compile_options(-fstack-protector-strong -fstack-clash-protection -fPIE)
    check_c_compiler_flag(-fcf-protection MYELIN_HAS_CF_PROTECTION) # x86 only
    if(MYELIN_HAS_CF_PROTECTION)
        add_compile_options(-fcf-protection)
    endif()
    add_compile_definitions(_FORTIFY_SOURCE=2)
    add_link_options(-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
    if(MYELIN_WERROR)
        add_link_options(-Werror) # link-time optimisation sees all files at once and warns there
    endif()
endif()
if(MYELIN_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "The fuzz preset needs clang: apt-get install clang libclang-rt-14-dev")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
