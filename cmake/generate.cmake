# A folder's queries.sql becomes typed C: <folder>/queries.h and queries.c below the build folder's generated/.
function(myelin_queries result folder)
    set(source ${CMAKE_SOURCE_DIR}/${folder}/queries.sql)
    if(NOT EXISTS ${source})
        set(${result} "" PARENT_SCOPE)
        return()
    endif()
    set(target ${CMAKE_BINARY_DIR}/generated/${folder})
    add_custom_command(
        OUTPUT ${target}/queries.c ${target}/queries.h
        COMMAND ${CMAKE_COMMAND} -E make_directory ${target}
        COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/proto/generate_queries.py ${source} ${target} ${folder}
        DEPENDS ${source} ${CMAKE_SOURCE_DIR}/proto/generate_queries.py)
    set(${result} ${target}/queries.c ${target}/queries.h PARENT_SCOPE)
endfunction()
