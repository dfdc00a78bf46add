/** Texts of a diagnosis: causes, what they were found from, and steps. */

export const DIAGNOSIS_STRINGS = {
  'cause.joined': ['It has joined', 'Er ist beigetreten'],
  'cause.joining': ['It is joining right now', 'Er tritt gerade bei'],
  'cause.unknown': ['The registry does not have this node', 'Die Registry kennt diesen Knoten nicht'],
  'cause.disabled': ['It is disabled', 'Er ist gesperrt'],
  'cause.outside-join-window': ['Its order does not let nodes join now', 'Sein Auftrag lässt jetzt niemanden beitreten'],
  'cause.held-off': [
    'It must wait: it was given a key that it had before',
    'Er muss warten: er bekam einen Schlüssel, den er schon hatte',
  ],
  'cause.expired': ['Its key has expired, and its grace is over', 'Sein Schlüssel ist abgelaufen, die Nachfrist auch'],
  'cause.expiring': ['It should have renewed its key by now', 'Er hätte seinen Schlüssel schon erneuern sollen'],
  'cause.server-silent': ['The auth-server does not run', 'Der Auth-Server läuft nicht'],
  'cause.clock-set-back': [
    'The clock of the server was set back: it commits no key for now',
    'Die Uhr des Servers ging zurück: er vergibt vorerst keine Schlüssel',
  ],
  'cause.controller-silent': ['Its controller is silent', 'Sein Controller schweigt'],
  'cause.controller-key': [
    'Its controller has another SK_cs than the registry',
    'Sein Controller hat einen anderen SK_cs als die Registry',
  ],
  'cause.clock': ['The clock of its controller is wrong', 'Die Uhr seines Controllers geht falsch'],
  'cause.wrong-controller': [
    'It asks through another controller than its own',
    'Er fragt über einen anderen Controller als seinen',
  ],
  'cause.store': ['The server cannot write to the registry', 'Der Server kann nicht in die Registry schreiben'],
  'cause.proof-failed': ['Its proof fails: the keys differ', 'Sein Beweis schlägt fehl: die Schlüssel sind verschieden'],
  'cause.proof-missing': ['It was answered, and proved nothing', 'Er bekam Antwort und hat nichts bewiesen'],
  'cause.restored': [
    'The registry was restored: the node seems to hold a newer key',
    'Die Registry wurde wiederhergestellt: der Knoten hat wohl einen neueren Schlüssel',
  ],
  'cause.device-has-this-key': [
    'The device holds the right key: answers do not reach it',
    'Das Gerät hat den richtigen Schlüssel: Antworten erreichen es nicht',
  ],
  'cause.device-has-initial-key': [
    'The device holds its initial key, the registry another one',
    'Das Gerät hat seinen Initialschlüssel, die Registry einen anderen',
  ],
  'cause.device-has-former-key': ['The device holds a former key', 'Das Gerät hat einen früheren Schlüssel'],
  'cause.device-has-other-key': [
    'The device holds a key that the registry never had for it',
    'Das Gerät hat einen Schlüssel, den die Registry nie für es hatte',
  ],
  'cause.was-refused': [
    'Its last request was refused; that reason is over',
    'Seine letzte Anfrage wurde abgelehnt; der Grund ist vorbei',
  ],
  'cause.never-asked': ['No controller ever asked for it', 'Kein Controller hat je nach ihm gefragt'],
  'cause.device-silent': ['It was refused, and has not asked since', 'Er wurde abgelehnt und hat seither nicht gefragt'],

  'refusal.unknownNode': ['not in the registry', 'nicht in der Registry'],
  'refusal.notAssigned': ['assigned to another controller', 'einem anderen Controller zugewiesen'],
  'refusal.disabled': ['disabled', 'gesperrt'],
  'refusal.outsideJoinWindow': ['outside its join window', 'außerhalb der Beitrittszeit'],
  'refusal.expired': ['its key had expired past its grace', 'Schlüssel nach der Nachfrist abgelaufen'],
  'refusal.clock': ['the clocks of controller and server differ', 'Uhren von Controller und Server verschieden'],
  'refusal.proofFailed': ['its proof failed', 'Beweis fehlgeschlagen'],
  'refusal.overloaded': ['the server was overloaded, or held it off', 'Server überlastet, oder er ließ warten'],
  'refusal.storeFailed': ['the server could not store the key', 'Server konnte den Schlüssel nicht speichern'],

  'fact.order': ['Order', 'Auftrag'],
  'fact.controller': ['Controller', 'Controller'],
  'fact.heard': ['heard {time}', 'gehört {time}'],
  'fact.never-heard': ['never heard', 'nie gehört'],
  'fact.unopened': ['its requests do not open, noticed {time}', 'seine Anfragen lassen sich nicht öffnen, bemerkt {time}'],
  'fact.skew-behind': ['its clock is {seconds} s behind', 'seine Uhr geht {seconds} s nach'],
  'fact.skew-ahead': ['its clock is {seconds} s ahead', 'seine Uhr geht {seconds} s vor'],
  'fact.neighbours': ['Its other nodes', 'Seine anderen Knoten'],
  'fact.neighbours-registry': ['Nodes of the registry', 'Knoten der Registry'],
  'fact.late': ['{joined} joined, {late} of them late', '{joined} beigetreten, davon {late} überfällig'],
  'fact.server': ['Auth-server', 'Auth-Server'],
  'fact.server-runs': ['runs', 'läuft'],
  'fact.server-silent': ['does not run', 'läuft nicht'],
  'fact.server-seen': ['last seen {time}', 'zuletzt gesehen {time}'],
  'fact.asked': ['Asked', 'Gefragt'],
  'fact.not-asked': ['never, so far as the server knows', 'nie, soweit der Server weiß'],
  'fact.times': [
    'once, {at}, through {controller}|{count} times, first {since}, last {at}, through {controller}',
    'einmal, {at}, über {controller}|{count}-mal, zuerst {since}, zuletzt {at}, über {controller}',
  ],
  'fact.refused': ['Refused', 'Abgelehnt'],
  'fact.joined': ['Joined', 'Beigetreten'],
  'fact.renewed': ['Renewed', 'Erneuert'],
  'fact.renewal-due': ['Renewal due', 'Erneuerung fällig'],
  'fact.expires': ['Expires', 'Läuft ab'],
  'fact.grace-ends': ['Grace ends', 'Nachfrist endet'],
  'fact.disabled': ['Disabled', 'Gesperrt'],
  'fact.removed': ['Removed', 'Entfernt'],
  'fact.by': ['{time}, by {actor}', '{time}, durch {actor}'],
  'fact.restored': ['Restored', 'Wiederhergestellt'],
  'fact.restored-from': ['{at}, from a backup of {backup}', '{at}, aus einer Sicherung von {backup}'],
  'fact.device-key': ['Key in the device', 'Schlüssel im Gerät'],
  'fact.device-key-current': ['the one that the registry has', 'der, den die Registry hat'],
  'fact.device-key-initial': ['its initial key', 'sein Initialschlüssel'],
  'fact.device-key-former': ['a former one', 'ein früherer'],
  'fact.device-key-other': ['unknown to the registry', 'der Registry unbekannt'],
  'fact.until': ['until {time}', 'bis {time}'],

  'step.wait': [
    'Wait. It tries again by itself, within 10 minutes.',
    'Warten. Er versucht es von selbst wieder, binnen 10 Minuten.',
  ],
  'step.wait-until': ['Wait until {until}.', 'Warten bis {until}.'],
  'step.ask-again': ['Ask again in a minute.', 'In einer Minute wieder fragen.'],
  'step.import': [
    'Compare the ID with the label of the device. If it is right, import its line of the manifest that it came with:',
    'Die ID mit dem Etikett des Geräts vergleichen. Stimmt sie, die Zeile aus seinem Manifest importieren:',
  ],
  'step.install-if-joined': [
    'If the device has joined before, it holds another key by now. Stop the agent, then install it again:',
    'War das Gerät schon beigetreten, hat es inzwischen einen anderen Schlüssel. Den Agenten anhalten, dann neu installieren:',
  ],
  'step.install-joined': [
    'The device has joined before, and holds another key. Stop the agent, then install it again:',
    'Das Gerät war schon beigetreten und hat einen anderen Schlüssel. Den Agenten anhalten, dann neu installieren:',
  ],
  'step.enable': ['Enable it:', 'Freigeben:'],
  'step.remove': [
    'A closed order cannot be opened again. If the node may join all the same, remove it:',
    'Ein geschlossener Auftrag lässt sich nicht wieder öffnen. Darf der Knoten trotzdem beitreten, ihn entfernen:',
  ],
  'step.import-again': ['Then import its line of the manifest again:', 'Dann seine Zeile des Manifests wieder importieren:'],
  'step.resume-order': ['Resume the order:', 'Den Auftrag fortsetzen:'],
  'step.open-order': ['Open the order:', 'Den Auftrag öffnen:'],
  'step.extend-grace': [
    'Give the node more grace. It can then renew the key that it has, and tries again within 10 minutes:',
    'Dem Knoten mehr Nachfrist geben. Er kann dann seinen Schlüssel erneuern und versucht es binnen 10 Minuten:',
  ],
  'step.look-if-not': [
    'If it does not, look at its power and at the way to its controller, and see what it met last:',
    'Tut er es nicht: Strom und Weg zum Controller prüfen, und was er zuletzt erlebt hat:',
  ],
  'step.move-node': [
    'If controller {controller} is the right one, assign the node to it:',
    'Ist Controller {controller} der richtige, den Knoten ihm zuweisen:',
  ],
  'step.move-device-too': [
    'Stop the agent, and name that controller to the device:',
    'Den Agenten anhalten und dem Gerät diesen Controller nennen:',
  ],
  'step.move-device': [
    'If controller {controller} is the right one, stop the agent, and name it to the device:',
    'Ist Controller {controller} der richtige, den Agenten anhalten und ihn dem Gerät nennen:',
  ],
  'step.reset-new': [
    'If the device holds another key, give the node a new initial key:',
    'Hat das Gerät einen anderen Schlüssel, dem Knoten einen neuen Initialschlüssel geben:',
  ],
  'step.install-reset': [
    'Take {manifest} to the device, stop the agent, and install it again:',
    '{manifest} zum Gerät bringen, den Agenten anhalten und neu installieren:',
  ],
  'step.reset-same': [
    'If the device was installed again from its manifest, and nobody else has that, take the node back to that key. The agent must have been stopped for 130 s before it was installed:',
    'Wurde das Gerät neu aus seinem Manifest installiert und hat das sonst niemand, den Knoten auf diesen Schlüssel zurücksetzen. Der Agent muss vor der Installation 130 s gestanden haben:',
  ],
  'step.reinstall': [
    'Stop the agent, and install it again from the manifest that it came with:',
    'Den Agenten anhalten und aus dem mitgelieferten Manifest neu installieren:',
  ],
  'step.check-device': [
    'Look at the device: its power, its ID, the way to controller {controller} at {address}. See which controller it asks, and what it met last:',
    'Das Gerät ansehen: Strom, ID, der Weg zu Controller {controller} unter {address}. Welchen Controller es fragt und was es zuletzt erlebt hat:',
  ],
  'step.check-way-back': [
    'Look at the way from controller {controller} to the device: answers must come from {address}, and a firewall must let UDP through. Stop the agent, and see what comes:',
    'Den Weg von Controller {controller} zum Gerät prüfen: Antworten müssen von {address} kommen, Firewalls UDP durchlassen. Den Agenten anhalten und sehen, was ankommt:',
  ],
  'step.check-controller': [
    'Look at controller {controller}, at {address}: does it run, and what does its log say of the auth-server? Firewalls must let UDP through.',
    'Controller {controller} unter {address} ansehen: läuft er, und was sagt sein Log über den Auth-Server? Firewalls müssen UDP durchlassen.',
  ],
  'step.check-controller-servers': [
    'Look at controller {controller}, at {address}: does it run, and what does its log say of the auth-server at {servers}? Firewalls must let UDP through.',
    'Controller {controller} unter {address} ansehen: läuft er, und was sagt sein Log über den Auth-Server unter {servers}? Firewalls müssen UDP durchlassen.',
  ],
  'step.rotate': [
    'Give it the credential that was made for it, or write another:',
    'Ihm das Credential geben, das für ihn gemacht wurde, oder ein neues schreiben:',
  ],
  'step.take-up-credential': [
    'Put {out} in the place of its credential. Then send the controller SIGHUP, or restart its unit.',
    '{out} an die Stelle seines Credentials legen. Dann dem Controller SIGHUP schicken oder seine Unit neu starten.',
  ],
  'step.take-up-staged': [
    'Put the credential with SK_cs {key} in the place of the old one. Then send the controller SIGHUP, or restart its unit.',
    'Das Credential mit SK_cs {key} an die Stelle des alten legen. Dann dem Controller SIGHUP schicken oder seine Unit neu starten.',
  ],
  'step.rotate-if-lost': [
    'If that credential is lost, write another, and use that one:',
    'Falls dieses Credential verloren ist, ein neues schreiben und dieses benutzen:',
  ],
  'step.set-clocks': [
    'Set the clocks of controller {controller} and of the auth-server by NTP. The node then tries again by itself.',
    'Die Uhren von Controller {controller} und Auth-Server per NTP stellen. Der Knoten versucht es dann von selbst.',
  ],
  'step.release-clock': [
    'If that is too long, read docs/OPERATIONS.md, “Clocks”, and end it:',
    'Dauert das zu lange, docs/OPERATIONS.md, „Clocks“, lesen und es beenden:',
  ],
  'step.check-disk': [
    'Look at the log of the auth-server, and at the disk of the registry: is it full, or read-only? The node then tries again by itself.',
    'Das Log des Auth-Servers und die Platte der Registry ansehen: voll oder nur lesbar? Der Knoten versucht es dann von selbst.',
  ],
  'step.start-controller': [
    'Start the controller, as it is started on this machine. Nodes then try again by themselves.',
    'Den Controller starten wie auf dieser Maschine üblich. Knoten versuchen es dann von selbst.',
  ],
  'step.start-server': [
    'Start it, with the options that it is run with here, or as a unit of systemd. Nodes then try again by themselves:',
    'Ihn starten, mit den hier üblichen Optionen oder als Unit von systemd. Knoten versuchen es dann von selbst:',
  ],
} as const;
