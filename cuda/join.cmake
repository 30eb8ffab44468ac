# Writes the files IMAGES one behind the other to OUTPUT. Each begins with a header that tells its size.
set(joined ${OUTPUT}.part)
execute_process(COMMAND ${CMAKE_COMMAND} -E cat ${IMAGES} OUTPUT_FILE ${joined} RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "cannot join ${IMAGES}")
endif()
file(RENAME ${joined} ${OUTPUT})
