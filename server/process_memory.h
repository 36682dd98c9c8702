// What this process holds of the machine's memory.
#ifndef ANYPREC_SERVER_PROCESS_MEMORY_H_
#define ANYPREC_SERVER_PROCESS_MEMORY_H_

#include <cstdint>

namespace anyprec {

// Resident bytes (RSS), or 0 where the system does not tell. Thread-safe.
int64_t ProcessResidentBytes();

}  // namespace anyprec

#endif  // ANYPREC_SERVER_PROCESS_MEMORY_H_
