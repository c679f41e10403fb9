"""Work that runs beside requests: threads of a process, loops of a worker."""
