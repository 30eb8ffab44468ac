declare const addon: import('./runtime/addon-types.js', { with: { 'resolution-mode': 'import' }}).Addon
export = addon
