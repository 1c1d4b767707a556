// What makes the pages quick: forms are sent and answered in place, and what moves is fetched again.
"use strict";
