/*
 * Two auth-servers on a PostgreSQL cluster of three whose primary fails over, for spin: see README.md beside this file.
 *
 * The database is a log of entries on each machine. Machine 0 is the first primary, the others are its synchronous standbys: a
 * commit waits until one of them has it (ANY 1). A standby has a prefix of what its primary has. What a primary has and no standby
 * has yet is the part that a failover takes back.
 *
 * A write goes in two halves. The first locks the registry's row and reads; the server decides on what it read. The second adds the
 * entry and commits. The network may delay it for any time, also after its server has given up. Until it takes effect, or the
 * database ends its transaction, the lock is held. Other sessions see the entry once its wait for a standby has ended, in
 * whatever way.
 *
 * A read that is answered holds that lock for a moment, then takes a snapshot, then waits for a standby that has all of the log
 * that was there at the snapshot (the barrier).
 *
 * Every machine and every server does one of its steps at any moment. A standby that is down, or cut off, is one that receives
 * nothing for any time.
 *
 * Each rule is in force unless `mutant` is the number of the mutant that breaks it. That and the bounds come from the environment
 * of the search, so that all searches need one compilation. `check` sees that spin finds each mutant.
 */

#define WRITES 2 /* one of each server, which may make it again */
#define SERVERS 2
#define NOBODY 7

#define NO_STANDBY 1
#define WARNING_IGNORED 2
#define NAMES_NOT_ASKED 3
#define NO_BARRIER 4
#define READ_WITHOUT_LOCK 5
#define HEAD_READ_BEFORE_LOCK 6
#define NOT_COMPARED 7
#define DOUBT_IS_SUCCESS 8
#define DOUBT_IS_FAILURE 9
#define MADE_AGAIN_IN_DOUBT 10
#define PROMOTED_BEHIND 11
#define OTHERS_RECEIVE_ON 12
#define HALF_OF_THE_MACHINES 13
#define SEEN_NOT_CHECKED 14
#define SEEN_BY_NUMBER 15
byte mutant;
#define keeps(rule) (mutant != rule)

/*
 * Any standby is promoted, whatever it lacks. Entries are lost then, and each server has to notice the loss of those which it has
 * seen: it knows the latest of them by number and hash, and the hash is over all that came before.
 */
bool anyPromotion;

/* SENT: the row is locked, the write is decided, its second half is on its way. WAITS: the entry is in the log. */
mtype = { FREE, SENT, WAITS };
/* What a server is told of its write. */
mtype = { PENDING, DONE, WARNED, UNNAMED, ROLLED_BACK, BROKEN };

typedef Machine {
  bool up = true;
  bool primary;       /* takes writes, although another machine may do so too */
  bool named = true;  /* synchronous_standby_names is not empty */
  byte upstream;      /* the machine that it receives from */
  byte length;        /* of its log; entries are numbers of writes */
  byte entry[WRITES];
  mtype stage = FREE; /* of the write that holds the lock */
  byte write;
  byte before;        /* the last entry, as it was decided on */
  bool attended       /* its server still waits for an answer */
}
Machine machine[4];
byte machines = 3;
/* The machine that standbys follow, and that operators take for the primary. */
byte current;
bool promoted;
/* So many are left: crashes of a primary; waits that are cancelled, and names of standbys that are emptied. */
byte crashes, mishaps;

mtype outcome[SERVERS] = PENDING;
/* The machine that a server is connected to. A crash breaks the connection. */
byte host[SERVERS] = NOBODY;
/* What a server has seen: the log up to the latest entry that it knows. */
typedef Seen {
  byte length;
  byte entry[WRITES]
}
Seen seen[SERVERS];

/* Sets of writes: acknowledged; shown by a read that was answered; reported as not done. */
byte acknowledged, shown, refused;

#define only(w) (1 << (w))
#define contains(set, subset) (((subset) & ~(set)) == 0)
#define part(m, i, n) ((i) < (n) -> only(machine[m].entry[i]) : 0)
#define parts(m, n) (part(m, 0, n) | part(m, 1, n))
#define contents(m) parts(m, machine[m].length)
#define visible(m) parts(m, (machine[m].stage == WAITS -> machine[m].length - 1 : machine[m].length))
#define last(m) (machine[m].length == 0 -> 0 : machine[m].entry[machine[m].length - 1])
#define owner(w) ((w) - 1)

#define has(s, m, n) (machine[s].upstream == m && machine[s].length >= (n))
#define onStandby(m, n) (has(0, m, n) || has(1, m, n) || has(2, m, n) || has(3, m, n))

#define sameEntry(s, m, i) ((i) >= seen[s].length || ((i) < machine[m].length && machine[m].entry[i] == seen[s].entry[i]))
#define hasSeen(s, m) (sameEntry(s, m, 0) && sameEntry(s, m, 1))
#define isAccepted(s, m) (!anyPromotion || hasSeen(s, m) || !keeps(SEEN_NOT_CHECKED) || \
  (!keeps(SEEN_BY_NUMBER) && seen[s].length <= machine[m].length))

#define takesWrites(m) (machine[m].up && machine[m].primary)
#define serves(s, m) (takesWrites(m) && isAccepted(s, m))
/* Whether the lock of all writes can be had now. */
#define canLock(s, m) (serves(s, m) && machine[m].stage == FREE)
#define servesAny(s) (serves(s, 0) || serves(s, 1) || serves(s, 2))
#define canLockAny(s) (canLock(s, 0) || canLock(s, 1) || canLock(s, 2))

/* The write of machine m has ended, and its server is told how. */
#define settle(m, how) \
  outcome[owner(machine[m].write)] = (machine[m].attended -> how : outcome[owner(machine[m].write)]); \
  machine[m].stage = FREE; \
  machine[m].write = 0; \
  machine[m].before = 0; \
  machine[m].attended = false

/* All connections to machine m break. */
#define disconnect(m) \
  if \
  :: machine[m].stage != FREE -> settle(m, BROKEN) \
  :: else \
  fi; \
  host[0] = (host[0] == m -> NOBODY : host[0]); \
  host[1] = (host[1] == m -> NOBODY : host[1])

/* Server s has seen the first n entries of machine m: nothing that it knows is gone. */
#define noteSeen(s, m, n, i) \
  if \
  :: anyPromotion -> \
     assert(hasSeen(s, m)); \
     if \
     :: n > seen[s].length -> \
        seen[s].length = n; \
        for (i : 0 .. WRITES - 1) { seen[s].entry[i] = (i < n -> machine[m].entry[i] : 0) } \
        i = 0 \
     :: else \
     fi \
  :: else \
  fi

proctype MachineOf(byte m) {
  byte other;
end:
  do
  /* The second half arrives, or never does: then the database ends the transaction. */
  :: atomic {
       takesWrites(m) && machine[m].stage == SENT ->
       /* The chain holds, and no write happens twice. */
       assert(last(m) == machine[m].before);
       assert(!(contents(m) & only(machine[m].write)));
       machine[m].entry[machine[m].length] = machine[m].write;
       machine[m].length++;
       machine[m].stage = WAITS
     }
  :: atomic { takesWrites(m) && machine[m].stage == SENT -> settle(m, ROLLED_BACK) }
  :: atomic {
       takesWrites(m) && machine[m].stage == WAITS && machine[m].named &&
       (onStandby(m, machine[m].length) || !keeps(NO_STANDBY)) ->
       if
       :: machine[m].attended -> noteSeen(owner(machine[m].write), m, machine[m].length, other)
       :: else
       fi;
       settle(m, DONE)
     }
  :: atomic { takesWrites(m) && machine[m].stage == WAITS && !machine[m].named -> settle(m, UNNAMED) }
  /* An operator cancels the wait, or empties the names. */
  :: atomic { takesWrites(m) && machine[m].stage == WAITS && mishaps -> mishaps--; settle(m, WARNED) }
  :: atomic { takesWrites(m) && machine[m].named && mishaps -> mishaps--; machine[m].named = false }
  :: atomic { takesWrites(m) && crashes -> crashes--; disconnect(m); machine[m].up = false }
  :: atomic { !machine[m].up -> machine[m].up = true }
  /* A standby receives. */
  :: atomic {
       machine[m].upstream != NOBODY && machine[machine[m].upstream].up &&
       machine[m].length < machine[machine[m].upstream].length ->
       other = machine[m].upstream;
       machine[m].entry[machine[m].length] = machine[other].entry[machine[m].length];
       machine[m].length++;
       other = 0
     }
  /* It is promoted: the other one receives no more from the old primary, and has not more. A fourth machine is out of reach. */
  :: atomic {
       !promoted && m != 0 && m != 3 &&
       (machine[3 - m].length <= machine[m].length || anyPromotion || !keeps(PROMOTED_BEHIND)) ->
       promoted = true;
       current = m;
       machine[m].primary = true;
       machine[m].upstream = NOBODY;
       if
       :: !keeps(OTHERS_RECEIVE_ON)
       /* One that has another entry is made anew, as a former primary is. */
       :: keeps(OTHERS_RECEIVE_ON) -> machine[3 - m].upstream = (contains(contents(m), contents(3 - m)) -> m : NOBODY)
       fi;
       if
       :: !anyPromotion ->
          assert(contains(contents(m), acknowledged | shown));
          assert(!(contents(m) & refused))
       :: anyPromotion
       fi
     }
  /* The former primary becomes a standby of the new one, from a base backup. */
  :: atomic {
       m != current && machine[m].upstream == NOBODY && machine[current].up ->
       disconnect(m);
       machine[m].primary = false;
       machine[m].up = true;
       machine[m].named = true;
       machine[m].upstream = current;
       machine[m].length = machine[current].length;
       for (other : 0 .. WRITES - 1) { machine[m].entry[other] = machine[current].entry[other] }
       other = 0
     }
  od
}

#define here host[me]

inline connect() {
  if
  :: serves(me, 0) -> here = 0
  :: serves(me, 1) -> here = 1
  :: serves(me, 2) -> here = 2
  fi
}

inline lock() {
  if
  :: canLock(me, 0) -> here = 0
  :: canLock(me, 1) -> here = 1
  :: canLock(me, 2) -> here = 2
  fi
}

inline forget() {
  saw = 0;
  isStale = false;
  position = 0;
  here = NOBODY
}

/* Of the server's write, which has a verdict from then on. */
inline acknowledge() {
  acknowledged = acknowledged | only(write);
  doubt = false;
  write = 0
}

inline refuse() {
  refused = refused | only(write);
  doubt = false;
  write = 0
}

proctype Server(byte me) {
  byte write, saw, position, i;
  bool doubt, isStale;
  byte head = NOBODY;
  write = me + 1;
end:
  do
  :: atomic { connect(); goto reading }
  :: atomic {
       !keeps(HEAD_READ_BEFORE_LOCK) && write && head == NOBODY && servesAny(me) ->
       connect();
       head = last(here);
       here = NOBODY
     }
  /* First half: the lock, and a comparison with what is there. The second half is sent. */
  :: atomic {
       write && !doubt && canLockAny(me) -> lock();
       if
       :: (visible(here) & only(write)) && keeps(NOT_COMPARED) -> doubt = true; forget(); goto end
       :: else
       fi;
       machine[here].stage = SENT;
       machine[here].write = write;
       machine[here].before = (head == NOBODY -> last(here) : head);
       head = NOBODY;
       machine[here].attended = true;
       goto writing
     }
  od;

writing:
  atomic {
    if
    :: outcome[me] == DONE -> acknowledge()
    /* It had no effect, and no earlier attempt had: it is reported as not done, or made again. */
    :: outcome[me] == ROLLED_BACK ->
       if
       :: refuse()
       :: skip
       fi
    :: outcome[me] == WARNED ->
       if
       :: keeps(WARNING_IGNORED) -> doubt = true
       :: !keeps(WARNING_IGNORED) -> acknowledge()
       fi
    :: outcome[me] == UNNAMED ->
       if
       :: keeps(NAMES_NOT_ASKED) -> doubt = true
       :: !keeps(NAMES_NOT_ASKED) -> acknowledge()
       fi
    :: outcome[me] == BROKEN -> doubt = true
    /* It waits no longer. What it sent may arrive at any time. */
    :: outcome[me] == PENDING -> machine[here].attended = false; doubt = true
    fi;
    outcome[me] = PENDING;
    forget();
    if
    :: doubt && !keeps(DOUBT_IS_SUCCESS) -> acknowledge()
    :: doubt && !keeps(DOUBT_IS_FAILURE) -> refuse()
    :: doubt && !keeps(MADE_AGAIN_IN_DOUBT) -> doubt = false
    :: else
    fi;
    goto end
  }

reading:
  /* The lock first: no write that was decided before is still on its way. */
  atomic {
    if
    :: here != NOBODY && (canLock(me, here) || !keeps(READ_WITHOUT_LOCK))
    :: forget(); goto end
    fi
  }
  /* The snapshot, and the barrier behind it. */
  atomic {
    if
    :: here != NOBODY && takesWrites(here) ->
       saw = visible(here);
       isStale = !contains(saw, acknowledged | shown);
       position = machine[here].length
    :: forget(); goto end
    fi
  }
  atomic {
    if
    :: here != NOBODY && ((machine[here].named && onStandby(here, position)) || !keeps(NO_BARRIER)) ->
       noteSeen(me, here, position, i);
       if
       :: !anyPromotion ->
          /* Nothing is missing that was acknowledged or shown before, and nothing is there that was reported as not done. */
          assert(!isStale);
          assert(!(saw & refused))
       :: anyPromotion
       fi;
       shown = shown | saw;
       if
       :: write && (saw & only(write)) -> acknowledge()
       :: write && doubt && !(saw & only(write)) ->
          if
          :: refuse()
          :: doubt = false /* it is made again */
          fi
       :: else
       fi
    :: true
    fi;
    forget();
    goto end
  }
}

init {
  byte m;
  atomic {
    c_code {
      now.mutant = getenv("mutant") ? atoi(getenv("mutant")) : 0;
      now.crashes = getenv("crashes") ? atoi(getenv("crashes")) : 1;
      now.mishaps = getenv("mishaps") ? atoi(getenv("mishaps")) : 1;
      now.anyPromotion = getenv("anyPromotion") ? 1 : 0;
    };
    if
    :: keeps(HALF_OF_THE_MACHINES) -> machine[3].upstream = NOBODY
    :: !keeps(HALF_OF_THE_MACHINES) -> machines = 4
    fi;
    machine[0].primary = true;
    machine[0].upstream = NOBODY;
    for (m : 0 .. machines - 1) { run MachineOf(m) }
    m = 0;
    run Server(0);
    run Server(1)
  }
}
