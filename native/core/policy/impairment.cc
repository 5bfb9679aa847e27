// See impairment.h.

#include "core/policy/impairment.h"

#include "core/port/port.h"

namespace tsvswitch {

void PolicyDeleter::operator()(Impairment* state) const { delete state; }

}  // namespace tsvswitch
