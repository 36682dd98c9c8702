#include "server/process_memory.h"

#include <unistd.h>

#include <fstream>

namespace anyprec {

int64_t ProcessResidentBytes() {
  // Fields are total and resident size, in pages; see proc(5).
  std::ifstream statm("/proc/self/statm");
  int64_t total_pages = 0;
  int64_t resident_pages = 0;
  if (!(statm >> total_pages >> resident_pages)) return 0;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

}  // namespace anyprec
