# test_json_differential compares our JSON parser with jansson and simdjson. Only this test links them, and simdjson's shim is
# the only C++ in the house, so the C++ compiler is looked for here.
myelin_need(jansson libjansson-dev jansson)
myelin_need(simdjson libsimdjson-dev simdjson)
if(CMAKE_C_COMPILER_ID MATCHES "Clang" AND NOT CMAKE_CXX_COMPILER)
    set(CMAKE_CXX_COMPILER clang++) # sanitizers and link-time optimisation want one family of compilers
endif()
include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
    message(FATAL_ERROR "A C++ compiler is missing (tests only): apt-get install g++, or leave the tests out with -DMYELIN_TESTS=OFF")
endif()
enable_language(CXX)

add_library(json_oracles STATIC ${CMAKE_CURRENT_LIST_DIR}/jansson_oracle.c ${CMAKE_CURRENT_LIST_DIR}/simdjson_oracle.cpp)
target_link_libraries(json_oracles PUBLIC PkgConfig::jansson PkgConfig::simdjson)
target_compile_features(json_oracles PRIVATE cxx_std_20)
get_directory_property(options COMPILE_OPTIONS)
list(REMOVE_ITEM options -Wstrict-prototypes -Wmissing-prototypes) # C only, and C++ warns about them
set_target_properties(json_oracles PROPERTIES COMPILE_OPTIONS "${options}")
target_link_libraries(test_json_differential PRIVATE json_oracles)
