/** Texts of new orders, of handing over keys, and of labels. */

export const ORDERING_STRINGS = {
  'page.new-order': ['New order', 'Neuer Auftrag'],
  'page.order': ['Order', 'Auftrag'],

  'orders.own-page': ['Open its page', 'Seine Seite öffnen'],

  'password.title': ['Your password again', 'Noch einmal das Passwort'],
  'password.about': [
    'This needs a password that was given in the last five minutes.',
    'Das braucht ein Passwort, das in den letzten fünf Minuten eingegeben wurde.',
  ],
  'password.refused': ['The password is wrong.', 'Das Passwort ist falsch.'],
  'password.submit': ['Go on', 'Weiter'],
  'step-up.title': ['Sign in again', 'Noch einmal anmelden'],
  'step-up.about': [
    'This needs a sign-in with your password in the last five minutes. What you typed here stays.',
    'Das braucht eine Anmeldung mit Passwort in den letzten fünf Minuten. Eingaben hier bleiben.',
  ],
  'problem.step-up-required': ['This needs your password again', 'Das braucht noch einmal das Passwort'],
  'problem.request-under-way': ['The same request is being answered', 'Dieselbe Anfrage wird gerade beantwortet'],
  'problem.job-interrupted': [
    'The server stopped before it said that this is done. Some or all of it may be done.',
    'Der Server endete, bevor er sagte, dass es getan ist. Ein Teil oder alles kann getan sein.',
  ],
  'problem.browser-key': [
    'This browser cannot make a key pair: take a newer one, or encrypt to the installer only',
    'Dieser Browser kann kein Schlüsselpaar erzeugen: einen neueren nehmen oder nur an den Installateur verschlüsseln',
  ],
  'problem.unreadable-file': [
    'The file with the keys cannot be opened. Hand them over again on the page of the order.',
    'Die Datei mit den Schlüsseln lässt sich nicht öffnen. Sie auf der Seite des Auftrags noch einmal übergeben.',
  ],

  'hand-over.title': ['Hand over', 'Übergabe'],
  'hand-over.open': [
    'Open the keys in this page, to print labels',
    'Die Schlüssel in dieser Seite öffnen, um Etiketten zu drucken',
  ],
  'hand-over.open-about': [
    'To a key pair that is made now, and that never leaves this page.',
    'Mit einem Schlüsselpaar, das jetzt entsteht und diese Seite nie verlässt.',
  ],
  'hand-over.recipients': ['Encrypt the manifest to the installer', 'Das Manifest an den Installateur verschlüsseln'],
  'hand-over.recipients-about': [
    'age recipients of the installer, age1…, one a line, as age-keygen prints them',
    'age-Empfänger des Installateurs, age1…, einer je Zeile, wie age-keygen sie ausgibt',
  ],
  'hand-over.stored': ['Stored for {installer} {time}, by {actor}', 'Hinterlegt für {installer} {time}, von {actor}'],
  'hand-over.fill': ['Use the recipients that are stored for {installer}', 'Die für {installer} hinterlegten Empfänger nehmen'],
  'hand-over.nobody': ['Choose one of the two, or both.', 'Eines von beiden wählen, oder beides.'],
  'hand-over.recorded': [
    'The audit log says to whom keys were encrypted, before they leave the server.',
    'Das Protokoll nennt, für wen verschlüsselt wurde, bevor Schlüssel den Server verlassen.',
  ],
  'hand-over.working': ['The server generates and stores the keys…', 'Der Server erzeugt und speichert die Schlüssel…'],
  'hand-over.ordered': ['Order {order}: {count} node|Order {order}: {count} nodes', 'Auftrag {order}: {count} Knoten'],
  'hand-over.split': [
    'The keys are the installer’s halves. Devices need the manufacturer’s halves as well.',
    'Die Schlüssel sind die Hälften des Installateurs. Geräte brauchen auch die des Herstellers.',
  ],
  'hand-over.leave': [
    'The keys are in this page only. When you leave it they are gone from it.',
    'Die Schlüssel sind nur in dieser Seite. Wer sie verlässt, hat sie nicht mehr.',
  ],
  'hand-over.again-later': [
    'The order can hand over again the keys of nodes that have not joined.',
    'Der Auftrag kann Schlüssel von Knoten, die nicht beigetreten sind, noch einmal übergeben.',
  ],
  'hand-over.wiped': ['The keys were wiped from this page.', 'Die Schlüssel wurden aus dieser Seite gelöscht.'],
  'hand-over.download': ['Save {name}', '{name} speichern'],
  'hand-over.download-about': [
    'Encrypted to the installer. On a device, it is opened with the installer’s identity:',
    'An den Installateur verschlüsselt. Auf einem Gerät öffnet ihn dessen Identität:',
  ],
  'hand-over.open-order': ['Go to order {order}', 'Zu Auftrag {order}'],
  'hand-over.look': ['See in another tab whether it was done', 'In einem anderen Tab nachsehen, ob es getan ist'],
  'hand-over.not-done': ['It was not done: let me try again', 'Es ist nicht getan: noch einmal versuchen'],
  'hand-over.again': ['Hand over again…', 'Noch einmal übergeben…'],
  'hand-over.again-submit': ['Hand over', 'Übergeben'],
  'hand-over.another': ['Another order', 'Noch ein Auftrag'],

  'order.causes': ['Not joined, by cause', 'Nicht beigetreten, nach Ursache'],
  'order.diagnose': ['Diagnose {count} node|Diagnose {count} nodes', '{count} Knoten diagnostizieren'],
  'order.diagnosing': ['Diagnosing…', 'Diagnostiziert…'],
  'order.nodes-of-cause': ['{count} node|{count} nodes', '{count} Knoten'],
  'order.and-more': ['and {count} more|and {count} more', 'und {count} weiterer|und {count} weitere'],
  'order.all-joined': ['All its nodes have joined.', 'Alle seine Knoten sind beigetreten.'],
  'order.sites': ['By site', 'Nach Ort'],
  'order.no-site': ['without a site', 'ohne Ort'],
  'order.first-join': ['First join', 'Erster Beitritt'],
  'order.latest-join': ['Latest join', 'Letzter Beitritt'],

  'labels.title': ['Labels', 'Etiketten'],
  'labels.format': ['Paper', 'Papier'],
  'labels.format-a4': ['A4, to cut', 'A4, zum Schneiden'],
  'labels.format-sheet': ['A4 labels, 21 of 63.5 × 38.1 mm', 'A4-Etiketten, 21 zu 63,5 × 38,1 mm'],
  'labels.format-roll': ['Roll of 62 mm', 'Rolle von 62 mm'],
  'labels.part': ['Part', 'Teil'],
  'labels.part-of': ['{from} to {to}', '{from} bis {to}'],
  'labels.print': ['Print {count} label|Print {count} labels', '{count} Etikett drucken|{count} Etiketten drucken'],
  'labels.drawing': ['Drawing labels…', 'Zeichnet Etiketten…'],
  'labels.head': ['Order {order} for {installer}', 'Auftrag {order} für {installer}'],
  'labels.secret': [
    'These labels hold the initial keys of the nodes. Hand them to the installer and nobody else.',
    'Diese Etiketten enthalten die Initialschlüssel der Knoten. Nur dem Installateur geben.',
  ],
  'labels.code': ['QR code of node {id}', 'QR-Code von Knoten {id}'],
} as const;
