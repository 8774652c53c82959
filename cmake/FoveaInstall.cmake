# cmake --install: headers, libraries, and the package that find_package(Fovea) finds.
include(CMakePackageConfigHelpers)

add_library(fovea INTERFACE)
target_link_libraries(fovea INTERFACE fovea_look)
add_library(Fovea::fovea ALIAS fovea)

install(TARGETS fovea ${FOVEA_LAYERS} EXPORT FoveaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT FoveaTargets NAMESPACE Fovea:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Fovea)
configure_package_config_file(cmake/FoveaConfig.cmake.in ${PROJECT_BINARY_DIR}/FoveaConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Fovea)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/FoveaConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/FoveaConfig.cmake ${PROJECT_BINARY_DIR}/FoveaConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Fovea)
