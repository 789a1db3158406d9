{
  "name": "{{name}}",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "devDependencies": {
    "@bytecodealliance/jco": "1.35.0"
  }
}
