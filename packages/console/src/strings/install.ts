/** Texts of the page for whoever installs nodes, on a phone. */

export const INSTALL_STRINGS = {
  'install.scan': ['Scan a label', 'Etikett scannen'],
  'install.stop': ['Stop the camera', 'Kamera aus'],
  'install.point': ['Point the camera at the code of the label.', 'Die Kamera auf den Code des Etiketts richten.'],
  'install.insecure': [
    'The camera works over HTTPS only. Type the ID on the label.',
    'Die Kamera geht nur über HTTPS. Die ID vom Etikett eingeben.',
  ],
  'install.no-reader': [
    'The code reader could not be loaded. Check the network, or type the ID on the label.',
    'Der Code-Leser ließ sich nicht laden. Netz prüfen oder die ID vom Etikett eingeben.',
  ],
  'install.camera-refused': [
    'The camera may not be used here. Allow it in the browser, or type the ID on the label.',
    'Die Kamera darf hier nicht benutzt werden. Sie im Browser erlauben oder die ID vom Etikett eingeben.',
  ],
  'install.no-camera': ['No camera was found. Type the ID on the label.', 'Keine Kamera gefunden. Die ID vom Etikett eingeben.'],
  'install.id': ['ID on the label', 'ID auf dem Etikett'],
  'install.check': ['Check', 'Prüfen'],
  'install.id-invalid': ['Expected the 8 hex digits of an ID.', 'Erwartet werden die 8 Hex-Ziffern einer ID.'],
  'install.key-stays': [
    'Of a label only the ID is read: its key leaves this page in no request.',
    'Von einem Etikett wird nur die ID gelesen: sein Schlüssel verlässt diese Seite nicht.',
  ],
  'install.next': ['Next node', 'Nächster Knoten'],
  'install.watching': ['Looks again every few seconds.', 'Sieht alle paar Sekunden nach.'],
  'install.ask': [
    'That is nothing to be done at the device. Send this to the person in charge:',
    'Am Gerät ist dafür nichts zu tun. Das an die zuständige Person schicken:',
  ],
  'install.describe': ['Name and place', 'Name und Platz'],
  'install.place': ['Place', 'Platz'],
  'install.save': ['Save', 'Speichern'],
  'install.saved': ['Node {id} is described.', 'Knoten {id} ist beschrieben.'],
  'install.unsaved': ['Not saved yet.', 'Noch nicht gespeichert.'],
  'install.stored': ['Stored now: {name}, {place}', 'Jetzt gespeichert: {name}, {place}'],
} as const;
