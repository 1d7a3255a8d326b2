// Nothing: its targets compile once what most sources include (.cmake/targets.cmake).
