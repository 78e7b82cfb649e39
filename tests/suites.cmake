# Suites that start whole servers, from the release preset, which they build and install themselves. They print their own checks and close
# with "N passed, N failed"; ops/test runs them by label, shows their lines as they come and adds those numbers up. 77: what a suite needs
# cannot be had on this machine (only Complement says that).
function(myelin_suite name label minutes)
    math(EXPR seconds "60 * ${minutes}")
    add_test(NAME suite/${name} COMMAND ${ARGN} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(suite/${name} PROPERTIES LABELS ${label} TIMEOUT ${seconds} SKIP_RETURN_CODE 77 RUN_SERIAL ON)
endfunction()

myelin_suite(system system 45 tests/system/run)
myelin_suite(ops_run system 45 tests/system/ops_run)
myelin_suite(complement complement 120 tests/complement/run)
myelin_suite(interop interop 45 tests/interop/run)
myelin_suite(chaos chaos 45 tests/chaos/run)
myelin_suite(upgrade upgrade 45 tests/upgrade/run)
